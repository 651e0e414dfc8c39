import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, type Provisioner } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import { EngineError } from '../swarm/engine-error.ts';
import { CLUSTER_LABEL } from '../swarm/labels.ts';
import type { LiveNetwork, LiveNode, LiveService } from '../swarm/swarm-types.ts';
import type { NodePool } from './node-pool.ts';
import type { ObservedCluster, ObservedMachine, ObservedSwarm } from './plan-context.ts';

/** Where a cluster is looked at from. */
interface Viewpoint {
  readonly provisioner: Pick<Provisioner, 'list' | 'shared'>;
  readonly pool: NodePool;
}

const listMs = 5_000;
/** One whose machine is gone does not even refuse. */
const patienceMs = 1_500;

/**
 * Reads the cluster as it is now: the list of machines and the swarm's lists at the same time, each engine only when
 * something suggests that it changed. Rejects when the machines cannot be listed; all else is part of the answer.
 */
export async function observeCluster(
  { provisioner, pool }: Viewpoint,
  signal: AbortSignal,
): Promise<ObservedCluster> {
  // Last pass's managers will do for most passes: their lists are read while the machines are listed.
  const [machines, sharedLacks, early] = await Promise.all([
    provisioner.list(signal),
    provisioner.shared?.lacks(signal) ?? [],
    readSwarm(pool, signal),
  ]);
  pool.sync(machines);
  const first = await lookAtAll(machines, pool, signal);
  const read = early.swarm ? early : { ...early, ...(await readSwarm(pool, signal)) };
  const doubtful = first.filter((seen) => isDoubtful(seen, read.swarm));
  for (const { machine } of doubtful) pool.doubt(machine.name);
  const looks = doubtful.length > 0 ? await lookAtAll(machines, pool, signal) : first;
  return { machines: looks, ...read, ...(sharedLacks.length > 0 && { sharedLacks }) };
}

function lookAtAll(
  machines: readonly ObservedMachine['machine'][],
  pool: NodePool,
  signal: AbortSignal,
): Promise<readonly ObservedMachine[]> {
  return Promise.all(
    machines.map(async (machine) => ({ machine, look: await pool.look(machine.name, signal) })),
  );
}

/** The swarm's list says something else than the machine last said of itself. */
function isDoubtful({ look }: ObservedMachine, swarm: ObservedSwarm | undefined): boolean {
  if (look.state !== 'up') return false;
  const { LocalNodeState, NodeID } = look.info.Swarm;
  if (LocalNodeState === 'pending' || LocalNodeState === 'error') return true;
  if (LocalNodeState !== 'active') return false;
  const live = swarm?.nodes.find(({ ID }) => ID === NodeID);
  if (live?.Status.State !== 'ready' || live.ManagerStatus?.Reachability === 'unreachable') return true;
  return (live.Spec.Role === 'manager') !== look.info.Swarm.ControlAvailable;
}

/** Asks one manager, and one more when it fails or lets wait; the first answer counts. */
async function readSwarm(
  pool: NodePool,
  signal: AbortSignal,
): Promise<Pick<ObservedCluster, 'swarm' | 'swarmError'>> {
  const over = new AbortController();
  const within = AbortSignal.any([signal, over.signal]);
  let swarmError: string | undefined;
  const ask = async (name: string, turn: Promise<unknown>) => {
    await turn;
    try {
      return await readLists(name, pool, AbortSignal.any([within, deadline(listMs)]));
    } catch (error) {
      if (!within.aborted) pool.doubt(name);
      swarmError ??= `${name}: ${messageOf(error)}`;
      throw error;
    }
  };
  const asked: Promise<ObservedSwarm>[] = [];
  for (const name of pool.managers()) asked.push(ask(name, turnAfter(asked.at(-1), within)));
  try {
    return { swarm: await Promise.any(asked) };
  } catch {
    signal.throwIfAborted();
    return swarmError === undefined ? {} : { swarmError };
  } finally {
    over.abort();
  }
}

/** When the one before has failed, or has let wait; rejects when nobody is to be asked any more. */
async function turnAfter(before: Promise<unknown> | undefined, signal: AbortSignal): Promise<void> {
  if (before === undefined) return;
  const failed = new Promise<void>((resolve) => void before.catch(() => resolve()));
  await Promise.race([failed, sleep(patienceMs, undefined, { signal })]);
}

async function readLists(manager: string, pool: NodePool, signal: AbortSignal): Promise<ObservedSwarm> {
  const { swarm } = await pool.connection(manager, signal);
  const [services, nodes, networks, configs, secrets] = await Promise.all([
    swarm.listServices(signal),
    swarm.listNodes(signal),
    swarm.listNetworks(signal),
    swarm.listConfigs(signal),
    swarm.listSecrets(signal),
  ]);
  refuseWithoutQuorum(nodes);
  refuseWithoutNetworks(networks, services);
  return { manager, nodes, networks, configs, secrets, services };
}

/**
 * A leader that has lost the others goes on answering, with what it last knew, for half a minute or longer; what it is told
 * to write it can only keep waiting.
 */
function refuseWithoutQuorum(nodes: readonly LiveNode[]): void {
  const managers = nodes.flatMap(({ ManagerStatus }) => ManagerStatus ?? []);
  const lost = managers.filter(({ Reachability }) => Reachability === 'unreachable').length;
  if (lost === 0 || lost * 2 < managers.length) return;
  const [left, all] = [managers.length - lost, managers.length];
  throw new EngineError('UNAVAILABLE', `${left} of ${all} managers are too few: nothing can be changed`);
}

/**
 * An engine that finds no leader refuses all lists but one: of networks it lists those that it knows itself, as if these
 * were all. By that list services would differ, and networks be missing.
 */
function refuseWithoutNetworks(networks: readonly LiveNetwork[], services: readonly LiveService[]): void {
  const known = new Set(networks.map(({ Id }) => Id));
  for (const { Spec } of services.filter(({ Spec: { Labels } }) => Labels?.[CLUSTER_LABEL] !== undefined))
    for (const { Target } of Spec.TaskTemplate.Networks ?? [])
      if (!known.has(Target))
        throw new EngineError(
          'UNAVAILABLE',
          `the list of networks lacks ${Target}, which ${Spec.Name} is on`,
        );
}
