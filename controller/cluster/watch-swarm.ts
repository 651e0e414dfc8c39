import type { Clock } from '../../state-machines/contract.ts';
import type { NodePool } from './node-pool.ts';

interface SwarmWatch {
  readonly pool: NodePool;
  readonly clock: Clock;
  readonly changed: () => void;
}

const types = ['node', 'service', 'network', 'config', 'secret'];
const againMs = 1_000;

/**
 * Calls `changed` for every event of the swarm until the signal aborts. Only a wake-up: events get lost, and the
 * periodic pass finds what they would have told.
 */
export async function watchSwarm({ pool, clock, changed }: SwarmWatch, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await followEvents(pool, changed, signal);
    } catch {
      // A lost connection, or the end: the next round tells which.
    }
    await clock.sleep(againMs, signal).catch(() => {}); // aborted: the loop ends
  }
}

async function followEvents(pool: NodePool, changed: () => void, signal: AbortSignal): Promise<void> {
  const [manager] = pool.managers();
  if (manager === undefined) return;
  const { engine } = await pool.connection(manager, signal);
  for await (const _ of engine.events(types, signal)) changed();
}
