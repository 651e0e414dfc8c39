import type { RunRecord } from '../state-machines/contract.ts';
import { healUnfinished } from '../state-machines/fault-runner.ts';
import { systemClock } from './clock.ts';
import { startHttpServer } from './http-server.ts';
import { type Actor, runGroup } from './loop/run-group.ts';
import { createOperator, type Operator, type OperatorOptions } from './operator.ts';
import { type FileRunJournal, openRunJournal } from './status/run-journal.ts';
import { lockState } from './status/state-lock.ts';

export interface RunOperatorOptions extends Omit<OperatorOptions, 'journal'> {
  /** Names us to a second writer of the state directory. */
  readonly verb: string;
  readonly host: string;
}

/** Runs between looks for faults that no run will heal. */
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
    let ready = false;
    const http = await startHttpServer({
      ...{ host: options.host, port: options.port, metrics: operator.metrics.render },
      notReady: () => (ready ? undefined : 'healing what an earlier process left'),
      failed: (err, path) => log.warn({ err, path }, 'request failed'),
    });
    try {
      await healLeft(operator, journal, log);
      ready = true;
      await runGroup([
        ...loopsOf(operator),
        orphanHealer(operator, journal, log),
        ...actorsOf(operator),
        ender(signal),
      ]);
    } finally {
      await operator.runs.stop('the controller was asked to end');
      operator.clusters.close();
      await http.close();
    }
  } finally {
    lock.release();
  }
}

function loopsOf(operator: Operator): readonly Actor[] {
  operator.enqueueAll();
  return [
    { name: 'clusters', execute: (signal) => operator.clusterLoop.run(signal) },
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

function orphanHealer(operator: Operator, journal: FileRunJournal, log: OperatorOptions['log']): Actor {
  return {
    name: 'orphans',
    async execute(signal) {
      while (!signal.aborted) {
        await systemClock.sleep(orphanScanMs, signal);
        await healLeft(operator, journal, log);
      }
    },
  };
}

/** Heals, verifies and closes as aborted every unfinished run that is not in progress; what cannot be healed is counted. */
async function healLeft(
  operator: Operator,
  journal: FileRunJournal,
  log: OperatorOptions['log'],
): Promise<void> {
  const isIdle = ({ schedule }: RunRecord) =>
    operator.runs.generationOf(`FaultSchedule/${schedule}`) === undefined;
  const left = (await journal.unfinished()).filter(isIdle);
  const clusters = [...new Set(left.map(({ cluster }) => cluster))];
  await Promise.all(
    clusters.map(async (cluster) => {
      const ofCluster = left.filter((run) => run.cluster === cluster);
      try {
        const { nodes, power } = operator.access(cluster);
        const records = { write: journal.write, unfinished: () => Promise.resolve(ofCluster) };
        const ports = {
          clock: systemClock,
          scripts: operator.scripts,
          nodes,
          journal: records,
          ...(power && { power }),
        };
        const results = await healUnfinished(ports, new AbortController().signal);
        for (const { runId, outcome, message } of results)
          log.info({ runId, outcome, message }, 'unfinished run closed');
      } catch (err) {
        log.error({ err, cluster, runs: ofCluster.map(({ runId }) => runId) }, 'unfinished runs not healed');
      }
    }),
  );
  operator.metrics.trials.orphaned((await journal.unfinished()).filter(isIdle).length);
}
