import type { Provisioner } from '../../provisioners/contract.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { ImageDelivery } from '../stack/deliver-images.ts';
import type { TryCheckpoint } from '../stack/try-checkpoint.ts';
import type { References } from '../swarm/resolve-references.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { NodePool } from './node-pool.ts';

/** What steps act through. */
export interface StepTools {
  readonly provisioner: Provisioner;
  readonly pool: NodePool;
  readonly images: ImageDelivery;
  readonly tryCheckpoint: TryCheckpoint;
  readonly references: References;
  readonly clock: Clock;
}

/** The tools of one step that is being done. */
export interface StepWork extends StepTools {
  /** To be called right before each write: throws when a trial has claimed the target meanwhile. */
  readonly mayWrite: () => void;
  readonly signal: AbortSignal;
}

/** The API of any manager that is reached now. */
export async function managerApi({ pool, signal }: StepWork): Promise<SwarmGateway> {
  const [name] = pool.managers();
  if (name === undefined) throw new Error('no manager answers');
  return (await pool.connection(name, signal)).swarm;
}

const pollMs = 200;

/** Asks until the answer is there or the time is over: then undefined. */
export async function poll<T>(
  ask: () => Promise<T | undefined>,
  withinMs: number,
  { clock, signal }: StepWork,
): Promise<T | undefined> {
  const deadlineMs = clock.now() + withinMs;
  for (let answer = await ask(); ; answer = await ask()) {
    if (answer !== undefined || clock.now() >= deadlineMs) return answer;
    await clock.sleep(pollMs, signal);
  }
}
