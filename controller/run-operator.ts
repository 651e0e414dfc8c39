import { systemClock } from './clock.ts';
import { eventLoopCheck, type HealthCheck, stateCheck } from './health.ts';
import { type HttpServerOptions, startHttpServer } from './http-server.ts';
import { followLevel } from './log-level.ts';
import { type Actor, runGroup } from './loop/run-group.ts';
import { createOperator, type Operator, type OperatorOptions } from './operator.ts';
import { type OrphanWatch, orphanWatch } from './schedule/watch-orphans.ts';
import { type FileRunJournal, openRunJournal } from './status/run-journal.ts';
import { lockState } from './status/state-lock.ts';

export interface RunOperatorOptions
  extends Omit<OperatorOptions, 'journal'>,
    Pick<HttpServerOptions, 'posts'> {
  /** Names us to a second writer of the state directory. */
  readonly verb: string;
  readonly host: string;
}

/** Between looks for faults that no run will heal. */
const orphanScanMs = 60_000;

/**
 * The life of the one writer of a state directory: lock, heal what an earlier process left, then all loops beside the
 * given actors until the first of them ends or the signal aborts. Ends with every fault healed.
 */
export async function runOperator(
  options: RunOperatorOptions,
  actorsOf: (operator: Operator) => readonly Actor[],
  signal: AbortSignal,
): Promise<void> {
  const { stateDir, verb, log } = options;
  const lock = await lockState(stateDir, verb, systemClock, signal);
  try {
    const journal = await openRunJournal(stateDir);
    for (const problem of journal.problems)
      log.error({ ...problem }, 'journal line not understood: it may hide a fault');
    const operator = await createOperator({ ...options, journal });
    let healed = false;
    const http = await startHttpServer({
      ...{ host: options.host, port: options.port, metrics: operator.metrics.render },
      healthz: livenessOf(operator),
      readyz: [
        { name: 'healed', look: () => (healed ? undefined : 'healing what an earlier process left') },
        { name: 'manifests', look: () => (operator.store.hasRead ? undefined : 'not read yet') },
        stateCheck(stateDir),
      ],
      ...(operator.leadership && { roles: () => operator.leadership!.roles() }),
      failed: (err, path) => log.warn({ err, path }, 'request failed'),
      ...(options.posts && { posts: options.posts }),
    });
    const watch = watchOrphans(operator, journal, log);
    const endElection = stand(operator, watch);
    try {
      // Of several operators each heals what it finds when it has become the leader.
      if (!operator.leadership) await watch.healUnfinished();
      healed = true;
      const level: Actor = {
        name: 'log level',
        execute: (signal) => followLevel(stateDir, log, systemClock, signal),
      };
      const own = [...loopsOf(operator), ...orphanActors(watch), level];
      await runGroup([...own, ...actorsOf(operator), ender(signal)]);
    } finally {
      await operator.runs.stop('the controller was asked to end');
      await endElection();
      operator.clusters.close();
      await http.close();
    }
  } finally {
    lock.release();
  }
}

/** Stands for the leases until the returned function lets them go: after the last act, so that the next may act at once. */
function stand({ leadership }: Operator, watch: OrphanWatch): () => Promise<void> {
  const end = new AbortController();
  const running = leadership?.run((cluster, signal) => watch.takeOver(cluster, signal), end.signal);
  return async () => {
    end.abort(new Error('the controller was asked to end'));
    await running;
    await leadership?.release();
  };
}

function livenessOf({ clusterLoop, scheduleLoop }: Operator): readonly HealthCheck[] {
  return [
    { name: 'clusters', look: () => clusterLoop.trouble() },
    { name: 'schedules', look: () => scheduleLoop.trouble() },
    eventLoopCheck(),
  ];
}

function loopsOf(operator: Operator): readonly Actor[] {
  operator.enqueueAll();
  return [
    { name: 'clusters', execute: (signal) => operator.clusterLoop.run(signal) },
    { name: 'names', execute: (signal) => operator.names.run(signal) },
    {
      name: 'schedules',
      async execute(signal) {
        // Runs heal while the loops still turn: only then is nothing left to wait for.
        signal.addEventListener('abort', () => void operator.runs.stop('the controller was asked to end'), {
          once: true,
        });
        await operator.scheduleLoop.run(signal);
      },
    },
  ];
}

/** Ends the group when the process is asked to end. */
function ender(stop: AbortSignal): Actor {
  return {
    name: 'signals',
    execute: (interrupt) =>
      new Promise((resolve) => {
        for (const signal of [stop, interrupt]) {
          if (signal.aborted) resolve();
          signal.addEventListener('abort', () => resolve(), { once: true });
        }
      }),
  };
}

/** A run that is hard to heal must not hold up the look at the other nodes: two actors, not one. */
function orphanActors(watch: OrphanWatch): readonly Actor[] {
  return [
    {
      name: 'unfinished runs',
      async execute(signal) {
        for (;;) {
          await systemClock.sleep(orphanScanMs, signal);
          await watch.healUnfinished();
        }
      },
    },
    {
      name: 'orphans',
      async execute(signal) {
        for (;;) {
          await watch.scan(signal);
          await systemClock.sleep(orphanScanMs, signal);
        }
      },
    },
  ];
}

function watchOrphans(
  { runs, store, statuses, access, acting, leadership, interventionsIn, metrics, scripts }: Operator,
  journal: FileRunJournal,
  log: OperatorOptions['log'],
): OrphanWatch {
  return orphanWatch({
    ...{ clock: systemClock, scripts, journal, metrics: metrics.trials, log },
    isActive: (schedule) => runs.generationOf(`FaultSchedule/${schedule}`) !== undefined,
    clusterOf: access,
    ...(leadership && { mandate: (cluster) => leadership.mandateToHeal(cluster) }),
    healed: (cluster, what) => interventionsIn(cluster).note('the look for orphans', `healed ${what}`),
    async machines() {
      const clusters = store.list().filter(({ kind, deleting }) => kind === 'ClusterSpec' && !deleting);
      // To who stands for no lease, the faults of who leads would look like nobody's.
      const ours = clusters.filter(({ name }) => leadership || acting.hindrance(name) === undefined);
      // What was never made carries no fault, and is not asked.
      const made = ours.map(async ({ name }) => {
        const { status } = await statuses.clusters.read(name);
        return { cluster: name, nodes: status?.inventory.nodes ?? [] };
      });
      return Promise.all(made);
    },
  });
}
