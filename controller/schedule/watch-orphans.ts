import { messageOf } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import type { Clock, RunRecord } from '../../state-machines/contract.ts';
import { type StepPorts, type StepSwitches, within } from '../../state-machines/dead-man/step-actions.ts';
import { healUnfinished } from '../../state-machines/fault-runner.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';
import {
  fenceNode,
  healOrphans,
  type OrphanReport,
  type Remnant,
  runIdOf,
  type Standing,
  scanOrphans,
} from '../../state-machines/scan-orphans.ts';
import type { TrialMetrics } from '../metrics/trial-metrics.ts';
import type { FileRunJournal } from '../status/run-journal.ts';

export interface OrphanWatchPorts {
  readonly clock: Clock;
  readonly scripts: Scripts;
  readonly journal: Pick<FileRunJournal, 'write' | 'unfinished' | 'runs'>;
  /** Whether a run of that schedule is in progress in this process. */
  readonly isActive: (schedule: string) => boolean;
  /** Every machine that was made, by cluster. */
  readonly machines: () => Promise<
    readonly { readonly cluster: string; readonly nodes: readonly string[] }[]
  >;
  /** Lease and term of a cluster that we lead; undefined: another one does. Absent: there is only one operator. */
  readonly mandate?: (cluster: string) => string | undefined;
  /** Throws when the cluster is not known. */
  readonly clusterOf: (cluster: string) => Pick<StepPorts, 'nodes'> & {
    readonly nodeNames: readonly string[];
    readonly switches: StepSwitches;
  };
  readonly metrics: Pick<TrialMetrics, 'orphaned' | 'faultActive'>;
  /** Told of what was healed in a cluster: a trial there is measured no more. */
  readonly healed: (cluster: string, what: string) => void;
  readonly log: Readonly<Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>>;
}

/** Looks after faults that no run in progress will heal; neither look rejects, and the two may overlap. */
export interface OrphanWatch {
  /**
   * By the journal: heals, verifies and closes as aborted every unfinished run that is not in progress. Of a cluster that
   * another operator leads, those are closed that it has left nothing of.
   */
  healUnfinished(): Promise<void>;
  /** By the marks on the nodes: heals what no journal tells of. */
  scan(signal: AbortSignal): Promise<void>;
  /** Of a cluster that we lead from now on: no node takes anything of the one before, and what it has left is healed. */
  takeOver(cluster: string, signal: AbortSignal): Promise<void>;
}

/** A node that has not answered by then is looked at again the next time; an undo may take a minute. */
const nodeLimitMs = 150_000;
/** So long a takeover waits for a node to answer: what is out of our reach, no fault of ours can hit either. */
const takeOverPatienceMs = 2_000;

export function orphanWatch(ports: OrphanWatchPorts): OrphanWatch {
  const { journal, isActive, metrics, log } = ports;
  const isOurs = (cluster: string) => !ports.mandate || ports.mandate(cluster) !== undefined;
  /** What was found on each node when it last answered. */
  const reports = new Map<string, OrphanReport>();
  const say = onChange(log);

  const unfinished = async () => (await journal.unfinished()).filter(({ schedule }) => !isActive(schedule));
  const count = async () => {
    const left = [...reports.values()].flatMap((report) => report.left.map(nameOf));
    const runs = (await unfinished()).map(({ runId }) => runId);
    metrics.orphaned(new Set([...runs, ...left]).size);
  };
  const standings = async () => {
    const known = new Map((await journal.runs()).map((run) => [run.runId, run]));
    return (runId: string): Standing => {
      const run = known.get(runId);
      if (!run) return 'unknown';
      return run.outcome === undefined ? 'ours' : 'closed';
    };
  };

  const healCluster = async (cluster: string, runs: readonly RunRecord[]) => {
    try {
      const records = { write: journal.write, unfinished: async () => runs };
      const { clock, scripts } = ports;
      const { nodes, switches } = ports.clusterOf(cluster);
      const reached = { clock, scripts, nodes, journal: records, ...switches };
      const results = await healUnfinished(reached, never);
      const open = new Set((await journal.unfinished()).map(({ runId }) => runId));
      for (const { runId, outcome, message } of results) {
        if (outcome === 'Stuck' && !open.has(runId)) continue; // gone with its machines meanwhile
        const { schedule, fault, steps } = runs.find((run) => run.runId === runId)!;
        const targets = steps.map(({ target }) => target);
        const isStuck = outcome === 'Stuck';
        for (const target of targets) metrics.faultActive(schedule, fault, target, isStuck);
        // Louder than the fault: each time that it was tried in vain.
        if (isStuck) log.warn({ runId, targets, message }, 'fault not healed, and tried again');
        else {
          log.info({ runId, outcome, message }, 'unfinished run closed');
          ports.healed(cluster, runId);
        }
      }
      say(`unfinished ${cluster}`, undefined);
    } catch (err) {
      say(`unfinished ${cluster}`, messageOf(err), () =>
        log.error({ err, cluster, runs: runs.map(({ runId }) => runId) }, 'unfinished runs not healed'),
      );
    }
  };

  /** What another operator has healed, its node knows nothing of any more. */
  const closeHealed = async (cluster: string, run: RunRecord) => {
    const { runId, steps } = run;
    const look = async (node: string) => {
      const handle = await ports.clusterOf(cluster).nodes(node);
      return scanOrphans(handle, ports.scripts, deadline(nodeLimitMs));
    };
    try {
      const found = await Promise.all([...new Set(steps.map(({ node }) => node))].map(look));
      if (found.flat().some((each) => each.kind === 'run' && runIdOf(each.run) === runId)) return;
      const message = 'healed by the operator that leads now';
      const end = { phase: 'healed', atMs: ports.clock.now(), outcome: 'Aborted', message } as const;
      await journal.write({ ...run, ...end });
      log.info({ runId, outcome: end.outcome, message }, 'unfinished run closed');
    } catch (err) {
      log.warn({ runId, reason: messageOf(err) }, 'unfinished run not looked for');
    }
  };

  const scanNode = async (cluster: string, node: string, signal: AbortSignal, patienceMs = nodeLimitMs) => {
    const key = `${cluster}/${node}`;
    try {
      const { scripts, clock } = ports;
      const handle = await within(clock, patienceMs, signal, async (bounded) => {
        const reached = await ports.clusterOf(cluster).nodes(node);
        const mandate = ports.mandate?.(cluster);
        if (mandate !== undefined) await fenceNode(reached, scripts, mandate, bounded);
        return reached;
      });
      const armedBefore = new Set(reports.get(key)?.arming);
      const limited = AbortSignal.any([signal, deadline(nodeLimitMs)]);
      const report = await healOrphans(handle, { scripts, standings, armedBefore }, limited);
      reports.set(key, report);
      say(key, undefined);
      const [healed, left] = [report.healed.map(nameOf), report.left.map(nameOf)];
      if (healed.length > 0) {
        log.warn({ cluster, node, healed }, 'orphaned faults healed');
        ports.healed(cluster, healed.join());
      }
      say(`left ${key}`, left.join() || undefined, () =>
        log.warn({ cluster, node, left }, 'orphaned faults in force'),
      );
    } catch (err) {
      if (signal.aborted) return;
      say(key, messageOf(err), () =>
        log.warn({ cluster, node, reason: messageOf(err) }, 'node not searched for faults'),
      );
    }
  };

  /** A journal or status that cannot be read is said, and does not end the process that has to heal. */
  const saidOf = async (subject: string, look: () => Promise<void>) => {
    try {
      await look();
      say(subject, undefined);
    } catch (err) {
      say(subject, messageOf(err), () => log.error({ err }, `${subject} not possible`));
    }
  };

  const machinesOf = async (wanted: (cluster: string) => boolean) =>
    (await ports.machines()).filter(({ cluster }) => wanted(cluster));

  return {
    healUnfinished: () =>
      saidOf('healing unfinished runs', async () => {
        const all = await unfinished();
        const left = all.filter(({ cluster }) => isOurs(cluster));
        const others = all.filter(({ cluster }) => !isOurs(cluster));
        await Promise.all(others.map((run) => closeHealed(run.cluster, run)));
        const clusters = [...new Set(left.map(({ cluster }) => cluster))];
        const healing = clusters.map((cluster) =>
          healCluster(
            cluster,
            left.filter((run) => run.cluster === cluster),
          ),
        );
        await Promise.all(healing);
        await count();
      }),
    scan: (signal) =>
      saidOf('search for orphaned faults', async () => {
        const machines = await machinesOf(isOurs);
        const names = machines.flatMap(({ cluster, nodes }) => nodes.map((node) => [cluster, node] as const));
        const made = new Set(names.map((each) => each.join('/')));
        for (const key of reports.keys()) if (!made.has(key)) reports.delete(key);
        await Promise.all(names.map(([cluster, node]) => scanNode(cluster, node, signal)));
        await count();
      }),
    takeOver: (cluster, signal) =>
      saidOf(`taking over ${cluster}`, async () => {
        const made = (await machinesOf((each) => each === cluster)).flatMap(({ nodes }) => nodes);
        const names = new Set([...made, ...ports.clusterOf(cluster).nodeNames]);
        await Promise.all([...names].map((node) => scanNode(cluster, node, signal, takeOverPatienceMs)));
        const left = (await unfinished()).filter((run) => run.cluster === cluster);
        if (left.length > 0) await healCluster(cluster, left);
        await count();
      }),
  };
}

/** Healing is not to be aborted: whoever stops now waits for it. */
const never = new AbortController().signal;

/** Says a thing when it is new, and again only after it was otherwise. */
function onChange(log: OrphanWatchPorts['log']) {
  const said = new Map<string, string>();
  return (subject: string, words: string | undefined, tell: () => void = () => {}) => {
    if (words === undefined) {
      if (said.delete(subject)) log.info({ subject }, 'as it should be again');
      return;
    }
    if (said.get(subject) === words) return;
    said.set(subject, words);
    tell();
  };
}

/** By its run: a fault on several nodes is one. */
function nameOf(remnant: Remnant): string {
  if (remnant.kind === 'run') return remnant.run.replace(/\.\d+$/, '');
  return `${remnant.node}: ${remnant.mechanism} ${remnant.mark}`;
}
