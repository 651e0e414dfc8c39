import { deadline } from '../../provisioners/deadline.ts';
import type { Clock } from '../../state-machines/contract.ts';
import {
  type ControlPlaneAnswer,
  type ControlPlaneView,
  viewer,
} from '../../state-machines/recovery/control-planes.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveNode, LiveTask } from '../swarm/swarm-types.ts';

const everyMs = 500;
/** An answer that takes longer is none. */
const timeoutMs = 2_000;

export interface SwarmViewOptions {
  readonly swarm: (signal: AbortSignal) => Promise<SwarmGateway>;
  readonly clock: Clock;
}

/** The observer's rows, each with what the swarm says of itself as well: two calls to a manager every half second. */
export async function* withSwarmViews(
  samples: AsyncIterable<Sample>,
  { swarm, clock }: SwarmViewOptions,
  signal: AbortSignal,
): AsyncIterable<Sample> {
  const over = new AbortController();
  let newest: ControlPlaneView | undefined;
  const asking = async (until: AbortSignal) => {
    const view = viewer('swarm');
    for (;;) {
      try {
        const within = AbortSignal.any([until, deadline(timeoutMs)]);
        const askedMs = clock.now();
        const answer = await askSwarm(await swarm(within), within);
        newest = view(answer, { askedMs, atMs: clock.now() });
      } catch {
        // That nobody can be asked is not what the swarm has noticed.
        newest = undefined;
      }
      await clock.sleep(everyMs, until);
    }
  };
  asking(AbortSignal.any([signal, over.signal])).catch(() => undefined); // over
  try {
    for await (const row of samples) yield newest ? { ...row, views: [...row.views, newest] } : row;
  } finally {
    over.abort();
  }
}

async function askSwarm(gateway: SwarmGateway, signal: AbortSignal): Promise<ControlPlaneAnswer> {
  const [nodes, tasks] = await Promise.all([
    gateway.listNodes(signal),
    gateway.listTasks({ desired: 'running' }, signal),
  ]);
  return readSwarm(nodes, tasks);
}

/** Nodes that it calls ready, managers that it reaches, tasks that run and are meant to. */
export function readSwarm(nodes: readonly LiveNode[], tasks: readonly LiveTask[]): ControlPlaneAnswer {
  const ready = nodes.filter(({ Status }) => Status.State === 'ready');
  const managers = nodes.filter(({ ManagerStatus }) => ManagerStatus?.Reachability === 'reachable');
  const running = tasks.filter(({ Status }) => Status.State === 'running');
  return {
    members: [
      ...ready.map(({ ID }) => `ready ${ID}`),
      ...managers.map(({ ID }) => `reachable ${ID}`),
      ...running.map(({ ID }) => `task ${ID}`),
    ],
    parts: {
      nodesReady: ready.length,
      managersReachable: managers.length,
      tasksRunning: running.length,
    },
  };
}
