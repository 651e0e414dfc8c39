import { isSelected, type Selector } from '../../crds/selector.ts';
import {
  type ServiceFacts,
  type SwarmMember,
  type Target,
  type TaskTarget,
  targetName,
} from '../../state-machines/contract.ts';

/** What runs where at this moment, as plain data. */
export interface Inventory {
  readonly nodes: readonly (SwarmMember & {
    readonly name: string;
    readonly labels: Labels;
    /** It leads the swarm's managers. */
    readonly leads?: boolean;
    /** The managers hear of it. */
    readonly ready?: boolean;
  })[];
  readonly services: readonly (ServiceFacts & {
    /** How many tasks it should have, running or not. */
    readonly desired?: number;
  })[];
}

type Labels = Readonly<Record<string, string>>;

/** How many; a leader is found by those who can ask, and is one. */
type Pick = 'one' | 'all' | 'minority' | 'majority';

/** A manifest's `target`: exactly one of nodes and services is present. */
export interface TargetSelector {
  readonly nodes?: Selector;
  readonly services?: Selector;
  readonly pick?: Pick;
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
  const candidates: Target[] = selector.nodes
    ? nodesAmong(selector.nodes, inventory).map(({ name }) => ({ kind: 'node', node: name }))
    : servicesAmong(selector.services, inventory).flatMap<Target>((service) =>
        selector.whole ? [wholeOf(service)] : tasksOf(service),
      );
  const sorted = candidates.sort((a, b) => (rankOf(a) < rankOf(b) ? -1 : 1));
  const wanted = howMany(selector, sorted.length);
  return wanted > sorted.length ? [] : shuffle(sorted, random).slice(0, wanted);
}

/** Tasks of one service on one node have one name. */
function rankOf(target: Target): string {
  return target.kind === 'task' ? `${targetName(target)} ${target.slot}` : targetName(target);
}

/** The nodes that a selector names, in any number; none for no selector. */
export function nodesAmong(selector: Selector | undefined, { nodes }: Inventory): Inventory['nodes'] {
  return selector ? nodes.filter((node) => isSelected(selector, node)) : [];
}

/** The services that a selector names, in any number; none for no selector. */
export function servicesAmong(
  selector: Selector | undefined,
  { services }: Inventory,
): Inventory['services'] {
  return selector ? services.filter((service) => isSelected(selector, service)) : [];
}

type Service = Inventory['services'][number];

/** A service with all of its tasks. */
export function wholeOf({ name, id, replicated }: Service): Target {
  return { kind: 'service', service: name, serviceId: id, replicated };
}

/** What runs of a service now. */
export function tasksOf({ name, tasks }: Service): readonly TaskTarget[] {
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

/** In another order, every one with the same chance: Fisher-Yates. */
export function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other]!, shuffled[last]!];
  }
  return shuffled;
}
