import { NODE_LABEL } from '../swarm/labels.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveNetwork, LiveNode, LiveService, LiveTask } from '../swarm/swarm-types.ts';

/** What the swarm's API says: by it answers are judged. */
export interface SwarmLists {
  readonly nodes: readonly LiveNode[];
  readonly services: readonly LiveService[];
  readonly tasks: readonly LiveTask[];
  readonly networks: readonly LiveNetwork[];
}

/** What a name stands for on one network. */
export interface Meaning {
  readonly network: string;
  /** Several may share a name. */
  readonly services: readonly string[];
  /** Addresses that an answer must have: the virtual one, or those of all tasks that run. */
  readonly running: readonly string[];
  /** Those that it may have: of tasks that come or go, too. */
  readonly known: readonly string[];
}

/** A name, and the container in whose place its node is asked. */
export interface Question {
  readonly node: string;
  readonly container: string;
  readonly name: string;
  /** On the network that it is asked for, and on others that the container is in: the engine takes any of them. */
  readonly meanings: readonly [Meaning, ...Meaning[]];
}

/** Four calls to a manager. */
export async function listSwarm(swarm: SwarmGateway, signal: AbortSignal): Promise<SwarmLists> {
  const [nodes, services, tasks, networks] = await Promise.all([
    swarm.listNodes(signal),
    swarm.listServices(signal),
    swarm.listTasks({}, signal),
    swarm.listNetworks(signal),
  ]);
  return { nodes, services, tasks, networks };
}

/**
 * Every name of every service with running tasks, asked on every ready node that has a container in that network: as the tasks
 * there ask, by the short names of the stack. Where a name means a virtual address, the names behind it are asked, too.
 */
export function planQuestions(lists: SwarmLists): readonly Question[] {
  const overlays = lists.networks.filter(({ Driver }) => Driver === 'overlay');
  const meanings = new Map(overlays.map((network) => [network.Id, meaningsOn(network, lists)]));
  return lists.nodes.filter(isReady).flatMap((node) => {
    const listeners = lists.tasks.filter((task) => task.NodeID === node.ID).flatMap(toListener);
    return overlays.flatMap(({ Id }) => {
      const listener = listeners.filter(({ networks }) => networks.includes(Id)).sort(byNetworks)[0];
      if (!listener) return [];
      const others = listener.networks.filter((network) => network !== Id);
      return [...(meanings.get(Id) ?? [])].map(
        ([name, meaning]): Question => ({
          ...{ node: nameOf(node), container: listener.container, name },
          meanings: [meaning, ...others.flatMap((network) => meanings.get(network)?.get(name) ?? [])],
        }),
      );
    });
  });
}

interface Listener {
  readonly container: string;
  readonly networks: readonly string[];
}

function toListener(task: LiveTask): readonly Listener[] {
  const container = task.Status.ContainerStatus?.ContainerID;
  const networks = (task.NetworksAttachments ?? []).flatMap(({ Network }) => Network?.ID ?? []);
  return container && isRunning(task) ? [{ container, networks }] : [];
}

/** Who is in one network only knows no other meaning of a name. */
function byNetworks(one: Listener, other: Listener): number {
  return one.networks.length - other.networks.length || (one.container < other.container ? -1 : 1);
}

/** By name; services that share one are one. */
function meaningsOn(network: LiveNetwork, lists: SwarmLists): ReadonlyMap<string, Meaning> {
  const meanings = new Map<string, Meaning>();
  for (const service of lists.services) {
    for (const [name, { running, known }] of namesOf(service, network.Id, lists)) {
      const before = meanings.get(name) ?? { services: [], running: [], known: [] };
      meanings.set(name, {
        network: network.Name,
        services: [...before.services, service.Spec.Name],
        running: [...before.running, ...running],
        known: [...before.known, ...known],
      });
    }
  }
  return meanings;
}

type Named = readonly [name: string, Pick<Meaning, 'running' | 'known'>];

/** The names of one service on one network; none while no task of it runs there. */
function namesOf(
  { ID, Spec, Endpoint }: LiveService,
  network: string,
  { nodes, tasks }: SwarmLists,
): readonly Named[] {
  const attachment = Spec.TaskTemplate.Networks?.find(({ Target }) => Target === network);
  const ready = new Set(nodes.filter(isReady).map(({ ID: node }) => node));
  const own = tasks.filter(({ ServiceID }) => ServiceID === ID);
  const addresses = (those: readonly LiveTask[]) => those.flatMap((task) => addressesOn(network, task));
  const running = addresses(own.filter((task) => isRunning(task) && ready.has(task.NodeID ?? '')));
  if (!attachment || running.length === 0) return [];
  const behind = { running, known: addresses(own.filter(({ Status }) => living.has(Status.State))) };
  const virtual = Endpoint?.VirtualIPs?.find(({ NetworkID }) => NetworkID === network)?.Addr;
  const names = (attachment.Aliases?.length ? attachment.Aliases : [Spec.Name]).filter(isHostName);
  if (virtual === undefined) return names.map((name): Named => [name, behind]);
  const inFront = { running: [bare(virtual)], known: [bare(virtual)] };
  return names.flatMap((name): readonly Named[] => [
    [name, inFront],
    [`tasks.${name}`, behind],
  ]);
}

/** States of tasks that may have an address. */
const living = new Set(['assigned', 'accepted', 'preparing', 'ready', 'starting', 'running']);

function isRunning({ Status, DesiredState }: LiveTask): boolean {
  return Status.State === 'running' && DesiredState === 'running';
}

function isReady({ Status }: LiveNode): boolean {
  return Status.State === 'ready';
}

function nameOf({ Spec, Description }: LiveNode): string {
  return Spec.Labels[NODE_LABEL] ?? Description.Hostname;
}

/** Others are no names that could be asked for. */
function isHostName(name: string): boolean {
  return /^[\w-]{1,63}(\.[\w-]{1,63})*$/.test(name);
}

/** IPv4: what is asked for. */
function addressesOn(network: string, { NetworksAttachments }: LiveTask): readonly string[] {
  return (NetworksAttachments ?? [])
    .filter(({ Network }) => Network?.ID === network)
    .flatMap(({ Addresses }) => Addresses ?? [])
    .map(bare)
    .filter((address) => !address.includes(':'));
}

const bare = (address: string): string => address.replace(/\/\d+$/, '');
