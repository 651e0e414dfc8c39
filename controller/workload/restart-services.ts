import type { Claims, Clock } from '../../state-machines/contract.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveService, LiveTask } from '../swarm/swarm-types.ts';

/** The service that submits the job, in any stack. */
const driver = /^(.*_)?driver$/;

/** An image that is there already starts in seconds. */
const limitMs = 120_000;
const pollMs = 500;

export interface RestartOptions {
  readonly swarm: (signal: AbortSignal) => Promise<SwarmGateway>;
  readonly claims: Pick<Claims, 'hold' | 'release'>;
  /** Who holds the services meanwhile: the reconciler leaves them alone. */
  readonly owner: string;
  /** Throws when another operator acts instead. */
  readonly mandate?: () => string;
  readonly clock: Clock;
}

/**
 * Restarts the job: the application ends with its driver, so the next one has new executors, heaps and connections, and
 * goes on from the same checkpoint. That the job is steady again is the gate's business. Rejects as `restartServices` does,
 * and when there is no such service.
 */
export async function restartJob(options: RestartOptions, signal: AbortSignal): Promise<void> {
  const gateway = await options.swarm(signal);
  const drivers = (await gateway.listServices(signal)).filter(({ Spec }) => driver.test(Spec.Name));
  if (drivers.length === 0)
    throw new Error('no service is called driver: there is no job that could be reset');
  await restartServices(drivers, options, signal);
}

/**
 * The swarm replaces every task of these services, from the same specs: a forced update. Resolves when the new tasks run.
 * Rejects when a trial holds one of them, and when its tasks do not run within two minutes.
 */
export async function restartServices(
  services: readonly LiveService[],
  { swarm, claims, owner, clock, mandate }: RestartOptions,
  signal: AbortSignal,
): Promise<void> {
  claims.hold(
    owner,
    services.map(({ Spec }) => Spec.Name),
  );
  try {
    const gateway = await swarm(signal);
    const old = (await gateway.listTasks({}, signal)).map(({ ID }) => ID);
    for (const live of services) {
      mandate?.();
      await gateway.restartService(live, signal);
    }
    const startMs = clock.now();
    for (;;) {
      const tasks = await gateway.listTasks({}, signal);
      const waiting = services.filter((service) => !isRenewed(service, tasks, old));
      if (waiting.length === 0) return;
      if (clock.now() - startMs > limitMs)
        throw new Error(`not running again: ${waiting.map(({ Spec }) => Spec.Name).join(', ')}`);
      await clock.sleep(pollMs, signal);
    }
  } finally {
    claims.release(owner);
  }
}

/** Nothing old of it runs, and as many new ones as it should have. */
function isRenewed({ ID, Spec }: LiveService, tasks: readonly LiveTask[], old: readonly string[]): boolean {
  const running = tasks.filter((task) => task.ServiceID === ID && task.Status.State === 'running');
  const wanted = 'Replicated' in Spec.Mode ? (Spec.Mode.Replicated.Replicas ?? 1) : 1;
  return running.length >= wanted && running.every((task) => !old.includes(task.ID));
}
