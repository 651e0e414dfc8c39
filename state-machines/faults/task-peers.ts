import { isSelected, type Side } from '../../crds/selector.ts';
import { type Facts, type NodeFacts, RefusedError, type ServiceFacts, type TaskTarget } from '../contract.ts';
import { ipv4 } from './aimed-at-nodes.ts';
import type { TaskGroup } from './steps-on-tasks.ts';

/** Whom tasks meet on the other side of a network fault. */
export interface TaskPeers {
  /** As packets bear them in the tasks' own network namespaces; `10.98.0.11/tcp/9092` for a published port. */
  readonly addresses: readonly string[];
  /** The tasks among them that share a network with the victims, those far from any victim first. */
  readonly tasks: readonly (Omit<TaskTarget, 'kind'> & { readonly shared: readonly string[] })[];
}

/**
 * The other side as the tasks of a group meet it: other tasks on networks that both are attached to, services by their
 * virtual addresses there, machines by their own, which packets reach by the node's gateway bridge. Everything that was
 * not chosen when `from` is absent. Throws RefusedError when nothing is there, or when packets would not tell the sides
 * apart.
 */
export function peersOfTasks(
  kind: string,
  { service, tasks: own }: TaskGroup,
  from: Side,
  { targets, services, nodes }: Facts,
): TaskPeers {
  refuseMisspelt(kind, from, { services, nodes });
  const victims = targets.flatMap((target) => (target.kind === 'task' ? [target] : []));
  const isVictim = (id: string) => victims.some(({ containerId }) => containerId === id);
  const sideNodes = from.services ? [] : nodes.filter((node) => isSelected(from.nodes ?? {}, node));
  const isThere = (node: string) => !from.nodes || sideNodes.some(({ name }) => name === node);
  const sideServices = services.filter((each) => !from.services || isSelected(from.services, each));
  const networks = own.flatMap(({ addresses = [] }) => addresses);
  const shared = (addresses: readonly string[] = []) =>
    addresses.filter((address) => networks.some((network) => subnetOf(network) === subnetOf(address)));

  const tasks = sideServices
    .flatMap(({ name, tasks: running }) => running.map((task) => ({ ...task, service: name })))
    .filter(({ containerId, node }) => !isVictim(containerId) && isThere(node))
    .map((task) => ({ ...task, shared: shared(task.addresses) }))
    .filter((task) => task.shared.length > 0)
    .sort((a, b) => (a.taskId < b.taskId ? -1 : 1));
  const isNear = (node: string) => victims.some((victim) => victim.node === node);
  const [near, far] = [tasks.filter(({ node }) => isNear(node)), tasks.filter(({ node }) => !isNear(node))];
  const virtual = sideServices
    .filter((each) => tasks.some((task) => task.service === each.name))
    .flatMap((each) => shared(each.addresses));
  if (from.nodes && virtual.length > 0) {
    throw new RefusedError(
      `${kind}: tasks on the other side are reached by virtual addresses, which stand for those elsewhere too`,
    );
  }
  const inside = [...tasks.flatMap((task) => task.shared), ...virtual].map(bare);
  if (from.services && inside.length === 0)
    throw new RefusedError(`${kind}: nothing on the other side shares a network with ${service}`);
  const machines = sideNodes.map(({ address }) => address);
  const addresses = [...inside, ...machines].map((address) => ipv4(kind, address));
  const ports = from.services ? sideServices.flatMap((each) => publishedBy(each, nodes)) : [];
  return { addresses: [...new Set([...addresses, ...ports])].sort(), tasks: [...far, ...near] };
}

function publishedBy({ published = [], tasks }: ServiceFacts, nodes: readonly NodeFacts[]): string[] {
  return published.flatMap(({ port, everywhere }) =>
    nodes
      .filter(({ name }) => everywhere || tasks.some(({ node }) => node === name))
      .map(({ address }) => `${address}/${port}`),
  );
}

/** Whether peers reach these tasks by a virtual address: then their packets come from the node's balancer. */
export function isBalanced({ service, tasks }: TaskGroup, { services }: Facts): boolean {
  const networks = new Set(tasks.flatMap(({ addresses = [] }) => addresses.map(subnetOf)));
  const virtual = services.find(({ name }) => name === service)?.addresses ?? [];
  return virtual.some((address) => networks.has(subnetOf(address)));
}

/** Without the prefix length. */
export function bare(address: string): string {
  return address.split('/')[0]!;
}

/** Of an address with its prefix length: `10.99.1.5/24` lies in `10.99.1.0/24`. */
export function subnetOf(address: string): string {
  const [host = '', length = '32'] = address.split('/');
  const bits = host.split('.').reduce((number, part) => number * 256 + Number(part), 0);
  const size = 2 ** (32 - Number(length));
  const first = Math.floor(bits / size) * size;
  return `${[24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')}/${length}`;
}

/** Throws RefusedError for a name on the other side that nothing has. */
export function refuseMisspelt(
  kind: string,
  from: Side | undefined,
  known: Pick<Facts, 'services' | 'nodes'>,
): void {
  for (const sort of ['nodes', 'services'] as const) {
    const wrong = (from?.[sort]?.matchNames ?? []).find(
      (wanted) => !known[sort].some((each) => isSelected({ matchNames: [wanted] }, each)),
    );
    if (wrong !== undefined)
      throw new RefusedError(`${kind}: the cluster has no ${sort.slice(0, -1)} "${wrong}"`);
  }
}
