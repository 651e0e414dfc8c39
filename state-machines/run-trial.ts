import { messageOf } from '../provisioners/contract.ts';
import type { Claims, FaultKind, FaultRun, RunResult, Workload } from './contract.ts';
import type { RunnerPorts } from './fault-runner.ts';
import { analyzeRecovery, type Recovery } from './recovery/analyze-recovery.ts';
import { type Calibration, calibrate, thetaOf } from './recovery/calibrate.ts';
import { heardWithinMs } from './recovery/control-planes.ts';
import { calibrationProblems, gateProblems } from './recovery/gate.ts';
import { judgeRedundancy } from './recovery/redundancy.ts';
import type { Sample } from './recovery/sample.ts';
import { visibleAge } from './recovery/signal.ts';
import { missingSpares, type Spares, sparesOf } from './recovery/spares.ts';
import { layOut, type Observation } from './recovery/timeline.ts';
import { mergeResults, runTogether } from './run-together.ts';
import { SampleFeed } from './sample-feed.ts';

/** How a trial is measured. */
interface TrialParameters {
  /** Steady time without a fault that theta is computed from; not used when a calibration is given. */
  readonly calibrationMs: number;
  /** Steady time demanded before the fault; a calibration that has just ended counts. */
  readonly gateMs: number;
  /** T_max. */
  readonly maxRecoveryMs: number;
  /** The job's trigger interval. */
  readonly triggerMs: number;
}

/** What the system was like when the campaign was calibrated. */
export interface Baseline {
  readonly calibration: Calibration;
  /** Absent when the control planes were not heard then: nothing can be demanded. */
  readonly spares?: Spares;
}

export interface Trial {
  /** Names it in results; the runs of faults that are together have ids that begin with it. */
  readonly runId: string;
  /** Whose claims they are: unique among running trials. */
  readonly owner: string;
  readonly kind: Pick<FaultKind, 'death' | 'through'>;
  /** Resolves targets and plans, at the last moment before the fault: tasks move while one waits. Several begin together. */
  readonly plan: (signal: AbortSignal) => Promise<readonly FaultRun[]>;
  /** A control: what is planned is nothing, nothing is done, and it is watched as if that had been held so long. */
  readonly control?: { readonly holdMs: number };
  /** Absent: the fault is run and nothing measured. */
  readonly measure?: TrialParameters;
  /** Of an earlier trial of the same campaign; what was there then has to be there again. */
  readonly baseline?: Baseline;
  /** Waited between gate and fault. */
  readonly phaseMs?: number;
  /** Done before anything is demanded, such as a reset of the job. When it throws, the trial is Invalid. */
  readonly prepare?: (signal: AbortSignal) => Promise<void>;
}

/** What a trial is waiting for, for people. */
export interface Progress {
  readonly awaiting:
    | 'reset'
    | 'samples'
    | 'calibration'
    | 'gate'
    | 'fault'
    | 'control'
    | 'recovery'
    | 'redundancy';
  readonly elapsedMs: number;
  /** At least so much longer; absent when nobody can know. */
  readonly leftMs?: number;
}

export interface TrialPorts extends RunnerPorts {
  readonly workload: Workload;
  readonly claims: Claims;
  readonly onSample?: (sample: Sample) => void;
  readonly onProgress?: (progress: Progress) => void;
  /** What of the cluster is not as it should be, one sentence each: it is waited for before the gate. */
  readonly shortcomings?: () => Promise<readonly string[]>;
  /** Told as soon as a campaign has its threshold; the fault waits for it. */
  readonly onCalibrated?: (baseline: Baseline) => Promise<void>;
}

/** What came of a trial. */
export interface TrialResult {
  /** Both are absent when it did not come to the fault. */
  readonly plan?: readonly FaultRun[];
  readonly run?: RunResult;
  /** Targets of those that came in the place of planned ones, and were hurt for them. */
  readonly followed?: readonly string[];
  readonly baseline?: Baseline;
  /** When the steady time before the fault began. */
  readonly gateFromMs?: number;
  readonly recovery?: Recovery;
  /** Why there is no recovery to report: the trial is Invalid. */
  readonly problem?: string;
}

/** How long a job may take to become steady enough to be calibrated. */
const settleLimitMs = 300_000;
/** How long redundancy is awaited after the recovery. */
const redundancyLimitMs = 60_000;
/** How long what an earlier trial or a reset took away is awaited before the gate. */
const wholeLimitMs = 300_000;
const tickMs = 500;

/**
 * One trial: calibrate unless that was done, gate, phase, fault or nothing, recovery, redundancy. Never rejects: what went
 * wrong is a `problem`, and what was broken is healed. An abort by the signal ends it at any time, healed.
 */
export async function runTrial(trial: Trial, ports: TrialPorts, signal: AbortSignal): Promise<TrialResult> {
  const feed =
    trial.measure && new SampleFeed(ports.workload, ports.clock, ports.onSample ?? (() => undefined));
  let result: TrialResult = {};
  try {
    let observe: ((run: RunResult) => Observation) | undefined;
    if (trial.prepare) await during(trial.prepare(signal), 'reset', ports);
    if (feed && trial.measure) {
      const { measure, kind } = trial;
      await awaitWhole(feed, { ...trial, measure }, ports, signal);
      const baseline = trial.baseline ?? (await calibrateSteady(feed, measure, ports, signal));
      const { calibration } = baseline;
      result = { baseline };
      if (!trial.baseline) await ports.onCalibrated?.(baseline);
      await passGate(feed, measure, { ...baseline, justCalibrated: !trial.baseline }, ports, signal);
      result = { ...result, gateFromMs: ports.clock.now() - measure.gateMs };
      if (trial.phaseMs) await ports.clock.sleep(trial.phaseMs, signal);
      const clock = await ports.workload.clockBound(signal);
      observe = ({ instants }) => ({
        ...{ rows: feed.rows, calibration, clock, triggerMs: measure.triggerMs, ...kind },
        maxRecoveryMs: measure.maxRecoveryMs,
        instants: { ...instants, effMs: instants.effMs! },
      });
    }
    const plan = await trial.plan(signal);
    ports.claims.hold(trial.owner, claimsOf(plan), madeAnew(plan));
    const followed: string[] = [];
    const follow = (target: string) => {
      ports.claims.hold(trial.owner, [target]);
      followed.push(target);
    };
    const run = trial.control
      ? await during(doNothing(trial.runId, trial.control, ports, signal), 'control', ports)
      : mergeResults(
          trial.runId,
          await during(runTogether(plan, followingPorts(ports, follow), signal), 'fault', ports),
        );
    result = { ...result, plan, run, followed };
    if (!observe) return result;
    if (run.outcome !== 'Healed') return { ...result, problem: run.message ?? run.outcome };
    await watch(() => observe(run), ports, signal);
    return { ...result, recovery: analyzeRecovery(observe(run)) };
  } catch (error) {
    return { ...result, problem: messageOf(error) };
  } finally {
    await feed?.stop();
    ports.claims.release(trial.owner);
  }
}

/**
 * Waits until nothing is left of what came before: the cluster is as it should be, everything that the calibration saw is
 * there again, and results are not late. The gate, which is extended only once, begins after that. Throws when it takes
 * too long: the next trial may find the system whole, so that only this one is lost.
 */
async function awaitWhole(
  feed: SampleFeed,
  { baseline, measure }: Pick<Trial, 'baseline'> & { readonly measure: TrialParameters },
  { clock, onProgress, shortcomings }: TrialPorts,
  signal: AbortSignal,
): Promise<void> {
  const startMs = clock.now();
  for (;;) {
    const rows = feed.recent(heardWithinMs);
    const row = rows.at(-1);
    const age = row && visibleAge(row);
    const isLate = baseline && (age ?? Infinity) > thetaOf(baseline.calibration, measure.triggerMs);
    const problems = [
      ...((await shortcomings?.()) ?? []),
      ...missingSpares(rows, baseline?.spares),
      ...(row && isLate ? ['results are late'] : []),
    ];
    if (problems.length === 0) return;
    const elapsedMs = clock.now() - startMs;
    if (elapsedMs > wholeLimitMs) throw new Error(`not whole again before the fault: ${problems.join('; ')}`);
    onProgress?.({ awaiting: feed.rows.length === 0 ? 'samples' : 'redundancy', elapsedMs });
    await clock.sleep(tickMs, signal);
  }
}

/** What a control has instead of a run: the instants of a fault that was never there. */
async function doNothing(
  runId: string,
  { holdMs }: NonNullable<Trial['control']>,
  { clock }: TrialPorts,
  signal: AbortSignal,
): Promise<RunResult> {
  const atMs = clock.now();
  if (holdMs > 0) await clock.sleep(holdMs, signal);
  const instants = { cmdMs: atMs, effMs: atMs, ...(holdMs > 0 && { endMs: clock.now() }) };
  return { runId, outcome: 'Healed', instants };
}

/** The first window that is steady by itself: a backlog of the job's start must not widen the threshold. */
async function calibrateSteady(
  feed: SampleFeed,
  { calibrationMs }: TrialParameters,
  ports: TrialPorts,
  signal: AbortSignal,
): Promise<Baseline> {
  const startMs = ports.clock.now();
  for (let problem = 'the observer gives no rows'; ; ) {
    const elapsedMs = ports.clock.now() - startMs;
    if (elapsedMs > settleLimitMs + calibrationMs)
      throw new Error(`the job did not become steady: ${problem}`);
    const rows = feed.last(calibrationMs);
    if (rows) {
      const calibration = calibrate(rows);
      const problems =
        'problem' in calibration ? [calibration.problem] : calibrationProblems(rows, calibration);
      if (problems.length === 0 && !('problem' in calibration)) {
        const spares = sparesOf(rows);
        return { calibration, ...(spares && { spares }) };
      }
      problem = problems.join('; ');
    }
    const awaiting = feed.rows.length === 0 ? 'samples' : 'calibration';
    ports.onProgress?.({ awaiting, elapsedMs, leftMs: Math.max(0, calibrationMs - elapsedMs) });
    await ports.clock.sleep(tickMs, signal);
  }
}

/** A steady window right before the fault; extended once. */
async function passGate(
  feed: SampleFeed,
  { gateMs }: TrialParameters,
  { calibration, spares, justCalibrated }: Baseline & { readonly justCalibrated: boolean },
  ports: TrialPorts,
  signal: AbortSignal,
): Promise<void> {
  let problems: readonly string[] = ['the observer gives no rows'];
  for (const waitMs of justCalibrated ? [0, gateMs] : [gateMs, gateMs]) {
    const startMs = ports.clock.now();
    for (let elapsedMs = 0; elapsedMs < waitMs; elapsedMs = ports.clock.now() - startMs) {
      ports.onProgress?.({ awaiting: 'gate', elapsedMs, leftMs: waitMs - elapsedMs });
      await ports.clock.sleep(tickMs, signal);
    }
    const rows = feed.last(gateMs);
    problems = rows
      ? [...gateProblems(rows, calibration), ...missingSpares(feed.recent(heardWithinMs), spares)]
      : ['the observer gives no rows'];
    if (problems.length === 0) return;
  }
  throw new Error(`not steady before the fault: ${problems.join('; ')}`);
}

/** Waits until recovery is judged by its own rule, and then for redundancy as long as that is worth. */
async function watch(observe: () => Observation, ports: TrialPorts, signal: AbortSignal): Promise<void> {
  const startMs = ports.clock.now();
  const limitMs = observe().maxRecoveryMs + tickMs + redundancyLimitMs;
  let recoveredMs: number | undefined;
  for (let elapsedMs = 0; elapsedMs < limitMs; elapsedMs = ports.clock.now() - startMs) {
    const observation = observe();
    const { watch: state, orderedMs } = layOut(observation);
    if (state.state === 'censored') return;
    if (state.state === 'clean') {
      recoveredMs ??= elapsedMs;
      const { rows, clock } = observation;
      const { state: redundancy } = judgeRedundancy(rows, orderedMs, clock.offsetMs);
      const isSettled = redundancy === 'kept' || redundancy === 'restored';
      if (isSettled || elapsedMs - recoveredMs >= redundancyLimitMs) return;
    }
    const left = state.state === 'watching' && { leftMs: state.leftMs };
    ports.onProgress?.({ awaiting: left ? 'recovery' : 'redundancy', elapsedMs, ...left });
    await ports.clock.sleep(tickMs, signal);
  }
}

/** Says once per second that it is still awaited. */
async function during<T>(work: Promise<T>, awaiting: Progress['awaiting'], ports: TrialPorts): Promise<T> {
  const startMs = ports.clock.now();
  const over = new AbortController();
  const tell = async () => {
    for (;;) {
      ports.onProgress?.({ awaiting, elapsedMs: ports.clock.now() - startMs });
      await ports.clock.sleep(2 * tickMs, over.signal);
    }
  };
  tell().catch(() => undefined); // over
  try {
    return await work;
  } finally {
    over.abort();
  }
}

/** Tells of whoever comes in the place of a target, before he is hurt. */
function followingPorts({ successor, ...ports }: TrialPorts, follow: (target: string) => void): RunnerPorts {
  if (!successor) return ports;
  return {
    ...ports,
    async successor(run, gone, signal) {
      const step = await successor(run, gone, signal);
      if (step) follow(step.target);
      return step;
    },
  };
}

/** Nodes whose machines are ended: what is left to be done for them is the reconciler's. */
function madeAnew(plan: readonly FaultRun[]): readonly string[] {
  return plan.flatMap(({ steps }) => steps.filter((step) => step.switch === 'spot').map(({ node }) => node));
}

/** A node, a service, or a task of it on a node: as the reconciler asks. */
function claimsOf(plan: readonly FaultRun[]): readonly string[] {
  return [...new Set(plan.flatMap(({ steps }) => steps.map(({ target }) => target)))];
}
