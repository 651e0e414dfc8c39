import { isSelected, type Selector } from '../../crds/selector.ts';
import {
  type ServiceFacts,
  type SwarmMember,
  type Target,
  targetName,
} from '../../state-machines/contract.ts';

/** What runs where at this moment, as plain data. */
export interface Inventory {
  readonly nodes: readonly (SwarmMember & { readonly name: string; readonly labels: Labels })[];
  readonly services: readonly ServiceFacts[];
}

type Labels = Readonly<Record<string, string>>;

/** A manifest's `target`: exactly one of nodes and services is present. */
export interface TargetSelector {
  readonly nodes?: Selector;
  readonly services?: Selector;
  readonly pick?: 'one' | 'all' | 'minority' | 'majority';
  readonly count?: number;
  /** The services themselves instead of their tasks: for a kind that is aimed at them. */
  readonly whole?: boolean;
}

/**
 * The targets that a selector names now: tasks or whole services for `services`, machines for `nodes`. `random` in
 * [0, 1) decides among equals, and candidates are sorted first, so that the same seed and the same world give the same
 * choice. Empty when nothing matches, or when fewer match than `count` asks for.
 */
export function selectTargets(
  selector: TargetSelector,
  inventory: Inventory,
  random: () => number,
): readonly Target[] {
  const chosen = selector.nodes ?? selector.services;
  if (!chosen) return [];
  const candidates: Target[] = selector.nodes
    ? inventory.nodes
        .filter((node) => isSelected(chosen, node))
        .map(({ name }) => ({ kind: 'node', node: name }))
    : inventory.services
        .filter((service) => isSelected(chosen, service))
        .flatMap((service) => (selector.whole ? [wholeOf(service)] : tasksOf(service)));
  const sorted = candidates.sort((a, b) => (targetName(a) < targetName(b) ? -1 : 1));
  const wanted = howMany(selector, sorted.length);
  return wanted > sorted.length ? [] : shuffle(sorted, random).slice(0, wanted);
}

type Service = Inventory['services'][number];

function wholeOf({ name, id, replicated }: Service): Target {
  return { kind: 'service', service: name, serviceId: id, replicated };
}

function tasksOf({ name, tasks }: Service): readonly Target[] {
  return tasks.map((task) => ({ kind: 'task', service: name, ...task }));
}

function howMany({ pick, count }: TargetSelector, available: number): number {
  if (count !== undefined) return count;
  switch (pick ?? 'one') {
    case 'one':
      return 1;
    case 'all':
      return Math.max(available, 1);
    case 'minority':
      return Math.max(1, Math.ceil(available / 2) - 1);
    case 'majority':
      return Math.floor(available / 2) + 1;
  }
}

/** Fisher-Yates. */
function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}
