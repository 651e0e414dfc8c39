import { networkInterfaces } from 'node:os';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { Machine, Switches } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import type { CheckpointKind, Clock, ClockBound, Nodes, Workload } from '../../state-machines/contract.ts';
import { checkpointKind, describeCheckpoint } from '../stack/checkpoint.ts';
import type { TargetClaims } from '../status/claims.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import { boundNodeClock } from '../workload/clock-bound.ts';
import { observerWorkload } from '../workload/observer-workload.ts';
import { readSettings } from '../workload/settings-in-force.ts';
import { withSwarmViews } from '../workload/swarm-views.ts';
import { gatherInventory } from './gather-facts.ts';
import type { Interventions } from './interventions.ts';

/** A cluster as runs on it use it. */
export interface ClusterAccess {
  readonly nodeNames: readonly string[];
  readonly nodes: Nodes;
  /** IPv4, of the machine that this process runs on. */
  readonly ownAddresses: readonly string[];
  /** Those of the machines' provisioner. */
  readonly switches: Switches;
  /** What that last told of a machine; undefined where it tells of none. */
  readonly machineOf: (name: string) => Machine | undefined;
  readonly claims: TargetClaims;
  /** Lease and term, where several operators might act; throws when we may not. */
  readonly mandate?: () => string;
  /** Where the job keeps its state; absent when the manifest does not say. */
  readonly checkpoint?: CheckpointKind;
  readonly workload: Workload;
  /** Interval of the job's trigger, ms. */
  readonly triggerMs: number;
  /** What the manifest says that governs detection and recovery, for the record. */
  readonly settings: Readonly<Record<string, string>>;
  /** The same, and what the manifest leaves to defaults and profiles, as the swarm holds it now. */
  settingsInForce(signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  /** What is done to it, by whomever. */
  readonly interventions: Interventions;
  /** How the nodes' clocks stand to ours; of those that answer. */
  clocks(signal: AbortSignal): Promise<readonly ClockBound[]>;
  /** What of it is not as its manifest says, one sentence each. */
  shortcomings(): Promise<readonly string[]>;
  /** Resolves when every service's name is heard on every node, or no more can be done about it. */
  namesSettled(signal: AbortSignal): Promise<void>;
  swarm(signal: AbortSignal): Promise<SwarmGateway>;
}

export interface ClusterAccessOptions {
  readonly cluster: ClusterSpec;
  readonly nodes: Nodes;
  readonly switches: Switches;
  readonly machineOf: (name: string) => Machine | undefined;
  readonly claims: TargetClaims;
  readonly mandate?: () => string;
  readonly clock: Clock;
  readonly swarm: (signal: AbortSignal) => Promise<SwarmGateway>;
  readonly interventions: Interventions;
  readonly shortcomings: () => Promise<readonly string[]>;
  readonly namesSettled: (signal: AbortSignal) => Promise<void>;
}

const defaultTriggerMs = 1_000;
const inventoryMs = 5_000;
const clocksMs = 5_000;

/** Binds what a run needs of a cluster; its observer is found anew at each connection, since tasks move. */
export function clusterAccess({
  cluster,
  nodes,
  switches,
  machineOf,
  claims,
  mandate,
  clock,
  swarm,
  interventions,
  shortcomings,
  namesSettled,
}: ClusterAccessOptions): ClusterAccess {
  const { spec } = cluster;
  const observerNode = async () => {
    const signal = deadline(inventoryMs);
    const { services } = await gatherInventory(await swarm(signal), signal);
    const task = services.find(({ name }) => name.endsWith('_observer'))?.tasks[0];
    if (!task) throw new Error('no observer runs in the cluster');
    return nodes(task.node);
  };
  const observer = observerWorkload({ node: observerNode, clock });
  const settings = {
    ...describeCheckpoint(spec),
    ...Object.fromEntries(
      spec.stacks.flatMap(({ name, env }) =>
        Object.entries(env).map(([key, value]) => [`${name}.${key}`, value]),
      ),
    ),
  };
  return {
    nodeNames: spec.nodes.map(({ name }) => name),
    ownAddresses: ownAddresses(),
    workload: {
      samples: (signal) => withSwarmViews(observer.samples(signal), { swarm, clock }, signal),
      clockBound: (signal) => observer.clockBound(signal),
    },
    async clocks(signal) {
      const within = AbortSignal.any([signal, deadline(clocksMs)]);
      const asked = spec.nodes.map(async ({ name }) => boundNodeClock(await nodes(name), clock, within));
      const answers = await Promise.allSettled(asked);
      return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    },
    triggerMs: triggerOf(spec),
    settings,
    settingsInForce: async (signal) => ({
      ...(await readSettings(await swarm(signal), signal)),
      ...settings,
    }),
    ...{ nodes, switches, machineOf, claims, swarm, interventions, shortcomings, namesSettled },
    ...(mandate && { mandate }),
    ...checkpointKind(spec),
  };
}

function ownAddresses(): readonly string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.flatMap(({ family, internal, address }) => (family === 'IPv4' && !internal ? [address] : []));
}

/** The streaming stack's TRIGGER, in Spark's words: `1 second`, `500 milliseconds`. */
function triggerOf({ stacks }: ClusterSpec['spec']): number {
  const text = stacks.map(({ env }) => env.TRIGGER).find((trigger) => trigger !== undefined);
  const [, count, unit] = /^(\d+) (millisecond|second|minute)s?$/.exec(text ?? '') ?? [];
  if (count === undefined) return defaultTriggerMs;
  const unitMs = unit === 'minute' ? 60_000 : unit === 'second' ? 1_000 : 1;
  return Number(count) * unitMs;
}
