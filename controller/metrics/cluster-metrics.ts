import { Counter, Gauge, type Registry } from 'prom-client';
import type { ClusterStatus } from '../../crds/status.ts';

/** How many tasks of a service the swarm wants to run, and how many run. */
export interface TaskCount {
  readonly service: string;
  readonly desired: number;
  readonly running: number;
}

/** What a pass over a cluster reports; a cluster has no series before its first pass in this process. */
export interface ClusterMetrics {
  clusterReady(cluster: string, ready: boolean): void;
  /** Services that are not counted any more lose their series. */
  clusterSeen(cluster: string, nodes: ClusterStatus['nodes'], services: readonly TaskCount[]): void;
  clusterGone(cluster: string): void;
  /** Nodes that do not resolve names of services as the swarm says, and how many; all others resolve all. */
  namesUnheard(cluster: string, nodes: readonly { readonly node: string; readonly names: number }[]): void;
  /** What came of the forced update of a service whose name was not resolved. */
  forcedForNames(cluster: string, result: 'healed' | 'failed'): void;
}

/** Which of several operators leads; no series without an election. */
export interface LeadershipMetrics {
  leading(cluster: string, leads: boolean): void;
  gone(cluster: string): void;
}

export function clusterMetrics(registry: Registry): ClusterMetrics {
  const registers = [registry];
  const isReady = new Gauge({
    registers,
    labelNames: ['cluster'] as const,
    name: 'sparkfailures_cluster_ready',
    help: '1 while machines and services are as the manifest asks',
  });
  const machines = new Gauge({
    registers,
    labelNames: ['cluster', 'state'] as const,
    name: 'sparkfailures_cluster_nodes',
    help: 'Machines that are asked for, and what the swarm says of them',
  });
  const tasks = new Gauge({
    registers,
    labelNames: ['cluster', 'service', 'state'] as const,
    name: 'sparkfailures_service_tasks',
    help: 'Tasks of a service that the swarm wants to run, and those that run',
  });
  const unheard = new Gauge({
    registers,
    labelNames: ['cluster', 'node'] as const,
    name: 'sparkfailures_unresolved_names',
    help: 'Names of services that a node does not resolve as the swarm says; absent where it resolves all',
  });
  const forced = new Counter({
    registers,
    labelNames: ['cluster', 'result'] as const,
    name: 'sparkfailures_forced_updates_total',
    help: 'Services that were updated by force because a node did not resolve their names, by what came of it',
  });
  const forcedResults = ['healed', 'failed'] as const;
  const deaf = new Map<string, readonly string[]>();
  const namesUnheard: ClusterMetrics['namesUnheard'] = (cluster, nodes) => {
    for (const node of deaf.get(cluster) ?? []) unheard.remove({ cluster, node });
    for (const { node, names } of nodes) unheard.set({ cluster, node }, names);
    deaf.set(
      cluster,
      nodes.map(({ node }) => node),
    );
  };
  const states = ['desired', 'ready', 'managers', 'unreachable'] as const;
  const counted = new Map<string, readonly string[]>();
  const clusterSeen: ClusterMetrics['clusterSeen'] = (cluster, nodes, services) => {
    for (const state of states) {
      machines.set({ cluster, state }, state === 'unreachable' ? nodes[state].length : nodes[state]);
    }
    const names = services.map(({ service }) => service);
    for (const service of counted.get(cluster) ?? []) {
      if (names.includes(service)) continue;
      for (const state of ['desired', 'running']) tasks.remove({ cluster, service, state });
    }
    counted.set(cluster, names);
    for (const { service, desired, running } of services) {
      tasks.set({ cluster, service, state: 'desired' }, desired);
      tasks.set({ cluster, service, state: 'running' }, running);
    }
  };
  return {
    clusterReady(cluster, ready) {
      isReady.set({ cluster }, ready ? 1 : 0);
      for (const result of forcedResults) forced.inc({ cluster, result }, 0);
    },
    clusterSeen,
    clusterGone(cluster) {
      clusterSeen(cluster, { desired: 0, ready: 0, managers: 0, unreachable: [] }, []);
      for (const state of states) machines.remove({ cluster, state });
      isReady.remove({ cluster });
      counted.delete(cluster);
      namesUnheard(cluster, []);
      for (const result of forcedResults) forced.remove({ cluster, result });
    },
    namesUnheard,
    forcedForNames: (cluster, result) => forced.inc({ cluster, result }),
  };
}

export function leadershipMetrics(registry: Registry): LeadershipMetrics {
  const status = new Gauge({
    registers: [registry],
    labelNames: ['name'] as const,
    name: 'leader_election_master_status',
    help: '1 while this process holds the lease of the cluster, 0 while it waits for it',
  });
  return {
    leading: (name, leads) => status.set({ name }, leads ? 1 : 0),
    gone: (name) => status.remove({ name }),
  };
}
