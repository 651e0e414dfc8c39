import type { ServiceSpec } from '../swarm/swarm-types.ts';

/** What placement constraints may ask of a node. */
export interface PlacementFacts {
  readonly hostname: string;
  readonly role: 'manager' | 'worker';
  readonly labels: Readonly<Record<string, string>>;
}

/** `key == value` or `key != value`: swarmkit's constraint grammar, which the converter has checked already. */
const CONSTRAINT = /^\s*([\w./-]+)\s*(==|!=)\s*(.*?)\s*$/;

/** True unless a constraint keeps the service's tasks off the node; what we cannot judge keeps nothing off. */
export function mayRunOn(node: PlacementFacts, service: ServiceSpec): boolean {
  return (service.TaskTemplate.Placement?.Constraints ?? []).every((text) => {
    const [, key = '', operator, want = ''] = CONSTRAINT.exec(text) ?? [];
    const have = fact(node, key);
    if (have === undefined) return true;
    // swarmkit compares without regard to case.
    return (have.toLowerCase() === want.toLowerCase()) === (operator === '==');
  });
}

/** The images, by name, of all services that may be scheduled on the node: sorted, each once. */
export function neededImages(node: PlacementFacts, services: readonly ServiceSpec[]): readonly string[] {
  const images = services.filter((it) => mayRunOn(node, it)).map((it) => it.TaskTemplate.ContainerSpec.Image);
  return [...new Set(images)].sort();
}

function fact(node: PlacementFacts, key: string): string | undefined {
  if (key === 'node.hostname') return node.hostname;
  if (key === 'node.role') return node.role;
  // A label that is not there equals the empty string.
  if (key.startsWith('node.labels.')) return node.labels[key.slice('node.labels.'.length)] ?? '';
  return undefined;
}
