import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { dueCount, intendedMs } from '../compose/streaming/records/schedule.ts';
import { analyzeRecovery } from '../state-machines/recovery/analyze-recovery.ts';
import { type Calibration, calibrate, thetaOf } from '../state-machines/recovery/calibrate.ts';
import { type ControlPlaneView, viewer } from '../state-machines/recovery/control-planes.ts';
import { calibrationProblems, gateProblems } from '../state-machines/recovery/gate.ts';
import { KeptRows } from '../state-machines/recovery/kept-rows.ts';
import { noFindings, type Sample, type Sources } from '../state-machines/recovery/sample.ts';
import { quantile, slope } from '../state-machines/recovery/signal.ts';
import { missingSpares, sparesOf } from '../state-machines/recovery/spares.ts';
import {
  controlsAllowClaim,
  holm,
  maximumOrP99,
  medianInterval,
  p95,
  permutationPValue,
  proportionInterval,
  ratioOfMedians,
} from '../state-machines/recovery/statistics.ts';
import { findRecovery, layOut, type Observation } from '../state-machines/recovery/timeline.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { type Commit, lastViolationEnd } from './bench/commit-log.ts';
import { packageRoot } from './support/examples.ts';

const t0 = 1_700_000_000_000;
const stepMs = 250;
/** What the control planes say at one instant. */
type Views = readonly Omit<ControlPlaneView, 'askedMs' | 'atMs'>[];

/** Spark's, when so much is alive and nobody was ever replaced. */
function spark({ workersAlive = 3, executors = 3 } = {}): Views {
  return [
    { source: 'spark-master', parts: { mastersAlive: 1, workersAlive }, losses: 0 },
    { source: 'spark-driver', parts: { executors, cores: 2 * executors }, losses: 0 },
  ];
}

interface Signal {
  /** F_visible at `ms` since the start; null: nothing visible. */
  readonly age: (ms: number) => number | null;
  readonly views?: (ms: number) => Views;
  /** How long a control plane takes to answer. */
  readonly answerMs?: number;
  readonly wrong?: (ms: number) => number;
  readonly behind?: (ms: number) => number;
  readonly sources?: (ms: number) => Partial<Sources>;
  readonly present?: (ms: number) => boolean;
  readonly endMs: number;
}

/** Rows every 250 ms from a drawn signal; the job commits once a second. */
function rowsOf({
  age,
  views = () => spark(),
  answerMs = 0,
  wrong = () => 0,
  behind = () => 0,
  sources = () => ({}),
  present,
  endMs,
}: Signal): Sample[] {
  const rows: Sample[] = [];
  for (let ms = 0; ms <= endMs; ms += stepMs) {
    if (present && !present(ms)) continue;
    const atMs = t0 + ms;
    const visible = age(ms);
    rows.push({
      atMs,
      ackedMs: atMs,
      committedMs: atMs,
      visibleMs: visible === null ? null : atMs - visible,
      intended: ms * 2,
      acked: ms * 2,
      generatorBehindMs: behind(ms),
      batchId: Math.floor(ms / 1_000),
      batchAtMs: t0 + Math.floor(ms / 1_000) * 1_000,
      batch: null,
      views: views(ms).map((view) => ({ ...view, askedMs: atMs - answerMs, atMs })),
      correctness: { ...noFindings, wrong: wrong(ms), shortWindows: 1, shortRecords: 9 },
      sources: {
        ...{ observerStartedMs: t0, generatorStartedMs: t0, generatorSeenMs: atMs, countedSinceMs: t0 },
        ...sources(ms),
      },
    });
  }
  return rows;
}

/** Results 1 to 2 s old, as a batch per second makes them. */
const steady = (ms: number) => 1_000 + (ms % 1_000);

/** Nothing new is visible from `fromMs` for `stallMs`; then the lag is worked off three times as fast as it came. */
function dip(fromMs: number, stallMs: number): (ms: number) => number {
  return (ms) => {
    const lateMs = ms - fromMs;
    if (lateMs < 0) return 0;
    return lateMs <= stallMs ? lateMs : Math.max(0, stallMs - 3 * (lateMs - stallMs));
  };
}

const withDips =
  (...dips: ((ms: number) => number)[]) =>
  (ms: number) =>
    steady(ms) + dips.reduce((sum, each) => sum + each(ms), 0);

const calibration = calibrate(rowsOf({ age: steady, endMs: 60_000 })) as Calibration;
const effAt = 30_000;
const quiet = 1_000;

function observe(signal: Signal, settings: Partial<Observation> = {}): Observation {
  return {
    ...{ rows: rowsOf(signal), instants: { cmdMs: t0 + effAt - 50, effMs: t0 + effAt, effResolutionMs: 40 } },
    ...{
      death: 'crash',
      calibration,
      triggerMs: 1_000,
      maxRecoveryMs: 600_000,
      clock: { offsetMs: 0, boundMs: 5 },
    },
    ...settings,
  };
}

const judge = (signal: Signal, settings: Partial<Observation> = {}) =>
  analyzeRecovery(observe(signal, settings));

t.test('calibration', async (t) => {
  t.test('gives the percentiles that were drawn, and theta from them', async (t) => {
    t.same(calibration, {
      ...{ p99Ms: 1_750, leastMs: 1_000, commitGapMs: 1_000, progressGapMs: 1_000, durationMs: 60_000 },
      maxima: ['p99Ms', 'commitGapMs', 'progressGapMs'],
    });
    t.equal(thetaOf(calibration, 500), 2_750, 'p99 + the larger of trigger and commit gap');
    t.equal(thetaOf({ ...calibration, p99Ms: 10_000 }, 500), 12_500, '1.25 x p99 where that is more');
    t.equal(thetaOf(calibration, 4_000), 5_750);
  });

  t.test('is refused without results or commits', async (t) => {
    t.match(calibrate(rowsOf({ age: () => null, endMs: 10_000 })), { problem: /no result/ });
    t.match(calibrate(rowsOf({ age: steady, endMs: 2_000 })), { problem: /only 3 batches/ });
  });

  t.test('takes a whole day of rows', async (t) => {
    t.equal((calibrate(rowsOf({ age: steady, endMs: 86_400_000 })) as Calibration).p99Ms, 1_750);
  });

  t.test('theta grows with p99, trigger, gap and factor', async () => {
    const ms = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(ms, ms, ms, ms, (p99Ms, commitGapMs, triggerMs, more) => {
        const theta = (change: Partial<Calibration>, trigger = triggerMs, factor = 1.25) =>
          thetaOf({ ...calibration, p99Ms, commitGapMs, ...change }, trigger, factor);
        return (
          theta({}) > p99Ms &&
          theta({ p99Ms: p99Ms + more }) > theta({}) &&
          theta({ commitGapMs: commitGapMs + more }) >= theta({}) &&
          theta({}, triggerMs + more) >= theta({}) &&
          theta({}, triggerMs, 1.5) >= theta({})
        );
      }),
    );
  });
});

t.test('gate', async (t) => {
  const problems = (signal: Omit<Signal, 'endMs'>, endMs = 120_000) =>
    gateProblems(rowsOf({ ...signal, endMs }), calibration);

  t.test('opens on a steady job, in long windows and short', async (t) => {
    for (const endMs of [120_000, 30_000, 10_000]) t.same(problems({ age: steady }, endMs), []);
  });

  t.test('stays shut while results grow older', async (t) => {
    t.match(problems({ age: (ms) => 500 + ms * 0.012 }), [/age by 0.012 s\/s/]);
    t.same(problems({ age: (ms) => 500 + ms * 0.008 }), []);
  });

  t.test('stays shut when the p99 is above 1.25 x the calibration', async (t) => {
    t.match(problems({ age: () => 2_200 }), [/^p99 of/]);
    t.match(problems({ age: () => 2_200 }, 60_000), [/^maximum of/], 'of 241 rows');
    t.same(problems({ age: () => 2_100 }), []);
  });

  t.test('stays shut when the generator falls behind its plan', async (t) => {
    t.match(problems({ age: steady, behind: (ms) => ms * 0.02 }), [/2\.0 %/]);
  });

  t.test('stays shut when the observer was started anew', async (t) => {
    const sources = (ms: number) => ({ observerStartedMs: t0 + (ms > 60_000 ? 60_000 : 0) });
    t.match(problems({ age: steady, sources }), [/observer was started anew/]);
  });

  t.test('stays shut when nothing is visible', async (t) => {
    t.same(problems({ age: () => null }), ['no result was visible']);
  });
});

t.test('a window to calibrate from', async (t) => {
  const problems = (signal: Omit<Signal, 'endMs'>) => {
    const rows = rowsOf({ ...signal, endMs: 12_000 });
    return calibrationProblems(rows, calibrate(rows) as Calibration);
  };

  t.test('is a steady one', async (t) => t.same(problems({ age: steady }), []));

  t.test('is none in which a backlog is still worked off', async (t) => {
    t.match(String(problems({ age: (ms) => steady(ms) + Math.max(0, 2_000 - ms) })), /maximum of/);
  });

  t.test('is none of which the newer half shows nothing', async (t) => {
    t.match(String(problems({ age: (ms) => (ms < 6_000 ? steady(ms) : null) })), /no result was visible/);
  });
});

t.test('recovery', async (t) => {
  t.test('of a flat signal is masked, with the smallest stall that would have been seen', async (t) => {
    const recovery = judge({ age: steady, endMs: 100_000 });
    t.same(recovery.verdict, { recovery: 'Masked', correctness: 'Correct' });
    t.equal(recovery.figures.recovery?.ms, 0);
    t.equal(recovery.smallestStallMs, 2_750 - 1_000 + 1_000 + stepMs);
    t.equal(recovery.instants.first, undefined);
  });

  t.test('of one dip is its end, with stall, first output, catch-up and error bound', async (t) => {
    const { figures, verdict, instants, recoveryBand } = judge({
      age: withDips(dip(effAt, 18_000)),
      endMs: 130_000,
    });
    t.equal(verdict.recovery, 'Recovered');
    // The drawn lag is 1.75 s or less from 54 - 0.6 s on; the batch rhythm decides where theta is last crossed.
    t.ok(Math.abs(figures.recovery!.ms - 23_500) <= 1_000, `recovery ${figures.recovery!.ms}`);
    t.ok(Math.abs(figures.firstOutput!.ms - 18_000) <= 1_000, `first output ${figures.firstOutput!.ms}`);
    t.ok(Math.abs(figures.stall!.ms - 17_000) <= 1_500, `stall ${figures.stall!.ms}`);
    t.equal(figures.catchUp!.ms, figures.recovery!.ms - figures.firstOutput!.ms);
    t.equal(figures.recovery!.errorMs, stepMs + 40 + 1_000 + 5);
    t.equal(instants.rec!.atMs, t0 + effAt + figures.recovery!.ms);
    t.same(
      recoveryBand.map(({ factor, thetaMs }) => ({ factor, thetaMs })),
      // 1.75 s and a gap of 1 s is what is in force: another factor moves that.
      [1.1, 1.25, 1.5].map((factor) => ({ factor, thetaMs: (factor / 1.25) * 2_750 })),
    );
  });

  t.test(
    'by a lower threshold ends where that was reached, though it was not watched 30 s longer',
    async (t) => {
      const slow = {
        age: withDips((ms) => (ms < effAt ? 0 : Math.max(0, 40_000 - (ms - effAt)) / 10)),
        endMs: 130_000,
      };
      const whole = judge(slow);
      const { stopMs } = layOut(observe(slow));
      const rows = rowsOf(slow).filter(({ atMs }) => atMs <= stopMs + 500);
      t.same(judge(slow, { rows }).recoveryBand, whole.recoveryBand);
      const [tight, middle] = whole.recoveryBand.map(({ ms }) => ms!);
      t.ok(tight! > middle! + 1_000, `${tight} after ${middle}`);
    },
  );

  t.test('takes in a second dip closer than 30 s, and leaves out one that is farther', async (t) => {
    const two = (secondAt: number) =>
      judge({ age: withDips(dip(effAt, 18_000), dip(secondAt, 6_000)), endMs: 200_000 });
    const near = two(effAt + 24_000 + 25_000);
    t.ok(near.figures.recovery!.ms > 55_000, `${near.figures.recovery!.ms}`);
    const far = two(effAt + 24_000 + 40_000);
    t.ok(far.figures.recovery!.ms < 25_000, `${far.figures.recovery!.ms}`);
  });

  t.test('waits for a fault that was not noticed yet', async (t) => {
    const late = { age: withDips(dip(effAt + 120_000, 20_000)), endMs: 400_000 };
    for (const death of ['crash', 'slowness'] as const)
      t.equal(judge(late, { death }).verdict.recovery, 'Masked', `${death} is noticed within 60 s`);
    const silence = judge(late, { death: 'silence' });
    t.equal(silence.verdict.recovery, 'Recovered');
    t.ok(silence.figures.recovery!.ms > 140_000);
  });

  t.test('counts short crossings as excursions', async (t) => {
    const peak = (ms: number) => (ms >= effAt + 5_000 && ms < effAt + 5_500 ? 5_000 : 0);
    const recovery = judge({ age: withDips(peak), endMs: 100_000 });
    t.equal(recovery.verdict.recovery, 'Masked');
    t.equal(recovery.excursions, 1);
  });

  t.test('that never comes is censored at T_max, without a figure', async (t) => {
    const stuck = {
      age: (ms: number) => steady(Math.min(ms, effAt)) + Math.max(0, ms - effAt),
      endMs: 700_000,
    };
    const recovery = judge(stuck);
    t.equal(recovery.verdict.recovery, 'NotRecovered');
    t.equal(recovery.figures.recovery, undefined);
    t.equal(recovery.figures.firstOutput, undefined);
    t.ok(recovery.figures.stall!.ms > 590_000);
    t.ok(recovery.recoveryBand.every(({ ms }) => ms === undefined));
  });

  t.test('does not hide one stuck partition: the slowest frontier stays old', async (t) => {
    // F_visible is the slowest partition's by definition: the others are worked off at once and go on.
    const slowestOf =
      (...partitions: ((ms: number) => number)[]) =>
      (ms: number) =>
        Math.max(...partitions.map((age) => age(ms)));
    const healthy = [dip(effAt, 3_000), dip(effAt, 2_000), () => 0].map((each) => withDips(each));
    const alone = judge({ age: slowestOf(...healthy), endMs: 130_000 });
    t.ok(alone.figures.recovery!.ms < 5_000);
    const late = judge({ age: slowestOf(...healthy, withDips(dip(effAt, 45_000))), endMs: 200_000 });
    t.ok(Math.abs(late.figures.recovery!.ms - 59_500) <= 1_000, `${late.figures.recovery!.ms}`);
    const stuck = judge({
      age: slowestOf(...healthy, (ms) => steady(Math.min(ms, effAt)) + Math.max(0, ms - effAt)),
      endMs: 650_000,
    });
    t.equal(stuck.verdict.recovery, 'NotRecovered');
  });

  t.test('of a job that was late before the fault is invalid', async (t) => {
    const recovery = judge({ age: withDips(dip(effAt - 10_000, 15_000)), endMs: 120_000 });
    t.equal(recovery.verdict.recovery, 'Invalid');
    t.match(recovery.message, /late already/);
  });

  t.test('counts what begins between the order and the look that saw the effect as the fault', async (t) => {
    // The job stands still from the order on; the check sees the effect only 8 s later.
    const instants = { cmdMs: t0 + effAt - 8_000, effMs: t0 + effAt, effResolutionMs: 8_000 };
    const long = judge({ age: withDips(dip(effAt - 8_000, 18_000)), endMs: 130_000 }, { instants });
    t.equal(long.verdict.recovery, 'Recovered');
    t.ok(Math.abs(long.figures.recovery!.ms - 15_500) <= 1_000, `${long.figures.recovery!.ms}`);
    t.ok(
      long.figures.stall!.ms <= 10_000 + stepMs,
      `no stall is counted before the effect: ${long.figures.stall!.ms}`,
    );
    const brief = judge({ age: withDips(dip(effAt - 8_000, 4_000)), endMs: 130_000 }, { instants });
    t.equal(brief.verdict.recovery, 'Recovered', 'over before it was seen, yet not masked');
    t.equal(brief.figures.recovery!.ms, 0);
  });

  t.test('is invalid when the watch was cut short, or the observer was blind', async (t) => {
    t.match(judge({ age: steady, endMs: effAt + 40_000 }).message, /ended before/);
    const blind = judge({ age: steady, present: (ms) => ms < 40_000 || ms > 47_000, endMs: 120_000 });
    t.equal(blind.verdict.recovery, 'Invalid');
    t.match(blind.message, /no rows for 7\.5 s/);
  });

  t.test('is invalid when observer or generator was started anew while it was watched', async (t) => {
    const age = withDips(dip(effAt, 18_000));
    for (const [name, field] of [
      ['observer', 'observerStartedMs'],
      ['generator', 'generatorStartedMs'],
    ] as const) {
      const startedAt = (atMs: number) => (ms: number) => ({ [field]: ms < atMs ? t0 : t0 + atMs });
      for (const atMs of [effAt, effAt + 20_000, effAt + 59_000]) {
        const { verdict, message } = judge({ age, sources: startedAt(atMs), endMs: 130_000 });
        t.same([verdict.recovery, message], ['Invalid', `the ${name} was started anew while it was watched`]);
      }
      for (const atMs of [effAt - 10_000, 125_000]) {
        const { verdict } = judge({ age, sources: startedAt(atMs), endMs: 130_000 });
        t.equal(verdict.recovery, 'Recovered', 'before or after it was watched');
      }
    }
  });

  t.test('is invalid when the generator fell silent and did not come back', async (t) => {
    const silent = (ms: number) => ({ generatorSeenMs: t0 + Math.min(ms, effAt + 5_000) });
    const growing = (ms: number) => steady(ms) + Math.max(0, ms - effAt - 5_000);
    const { verdict, message } = judge({ age: growing, sources: silent, endMs: 650_000 });
    t.equal(verdict.recovery, 'Invalid', 'and not NotRecovered');
    t.match(message, /generator gave no answer for 59\d s/);
    const short = (ms: number) => ({
      generatorSeenMs: t0 + (ms > effAt && ms < effAt + 25_000 ? effAt : ms),
    });
    t.equal(judge({ age: steady, sources: short, endMs: 130_000 }).verdict.recovery, 'Masked');
  });

  t.test('counts rows without a visible result as violations', async (t) => {
    const recovery = judge({
      age: (ms) => (ms > effAt + 1_000 && ms < effAt + 20_000 ? null : steady(ms)),
      endMs: 130_000,
    });
    t.equal(recovery.verdict.recovery, 'Recovered');
    t.equal(recovery.figures.recovery!.ms, 20_000);
  });

  t.test('with a hold is watched from the end of the fault, and told apart before and after', async (t) => {
    const endMs = effAt + 60_000;
    const instants = { effMs: t0 + effAt, effResolutionMs: 0, endMs: t0 + endMs };
    const signal = { age: withDips(dip(effAt, 30_000), dip(endMs + 2_000, 9_000)), endMs: 500_000 };
    const recovery = judge(signal, { instants, death: 'silence' });
    t.equal(recovery.verdict.recovery, 'Recovered');
    const after = recovery.afterHeal!;
    t.ok(Math.abs(after.recovery!.ms - 14_000) <= 1_500, `${after.recovery!.ms}`);
    t.equal(recovery.figures.recovery!.ms - after.recovery!.ms, 60_000);
    t.ok(Math.abs(after.violatedInHoldMs - 38_000) <= 2_000, `${after.violatedInHoldMs}`);
    const cut = judge({ ...signal, endMs: endMs + 200_000 }, { instants, death: 'silence' });
    t.equal(cut.verdict.recovery, 'Invalid', '240 s after the heal, not after the fault');
  });

  t.test('tells detection and redundancy as the master does', async (t) => {
    const lost = (ms: number) => ms >= effAt + 2_000 && ms < effAt + 15_000;
    const views = (ms: number) => spark({ executors: lost(ms) ? 2 : 3 });
    const recovery = judge({ age: withDips(dip(effAt, 10_000)), views, endMs: 130_000 });
    t.match(recovery.instants, { det: { source: 'spark-driver' }, red: { source: 'spark-driver' } });
    t.equal(recovery.figures.detection?.ms, 2_000);
    t.equal(recovery.figures.detection?.errorMs, stepMs + 40 + 5);
    t.equal(recovery.figures.redundancy?.ms, 15_000);
    t.equal(recovery.redundancy, 'restored');
  });

  t.test('noticed before the check had seen the effect counts as noticed at once', async (t) => {
    const cmdAt = effAt - 2_000;
    const views = (ms: number) => spark({ executors: ms >= effAt - 500 && ms < effAt + 15_000 ? 2 : 3 });
    const instants = { cmdMs: t0 + cmdAt, effMs: t0 + effAt, effResolutionMs: 40 };
    const recovery = judge({ age: withDips(dip(effAt, 10_000)), views, endMs: 130_000 }, { instants });
    t.equal(recovery.figures.detection?.ms, 0);
    t.equal(recovery.figures.redundancy?.ms, 15_000);
    t.equal(recovery.verdict.recovery, 'Recovered');
    const brief = (ms: number) => spark({ executors: ms >= effAt - 1_500 && ms < effAt - 500 ? 2 : 3 });
    const back = judge({ age: steady, views: brief, endMs: 130_000 }, { instants });
    t.equal(back.figures.redundancy?.ms, 0, 'and back before the effect was seen as back at once');
  });

  t.test('without its redundancy is degraded, and unknown is not back', async (t) => {
    const age = withDips(dip(effAt, 10_000));
    const short = judge({
      age,
      views: (ms) => spark({ workersAlive: ms > effAt ? 2 : 3 }),
      endMs: 130_000,
    });
    t.equal(short.verdict.recovery, 'RecoveredDegraded');
    t.equal(short.redundancy, 'lost');
    const unasked = judge({ age, views: () => [], endMs: 130_000 });
    t.equal(unasked.verdict.recovery, 'RecoveredDegraded');
    t.equal(unasked.redundancy, 'unknown');
  });

  t.test('names each control plane that noticed, and the first one as detection', async (t) => {
    const age = withDips(dip(effAt, 10_000));
    const between = (ms: number, fromMs: number, toMs: number) => ms >= effAt + fromMs && ms < effAt + toMs;
    const views = (ms: number): Views => [
      ...spark({ workersAlive: between(ms, 60_000, 61_000) ? 2 : 3 }),
      { source: 'kafka', parts: { brokers: 3 }, losses: between(ms, 1_000, 200_000) ? 1 : 0 },
      { source: 'swarm', parts: { nodesReady: between(ms, 15_000, 50_000) ? 5 : 6 }, losses: 0 },
    ];
    const clock = { offsetMs: 100, boundMs: 5 };
    const recovery = judge({ age, views, endMs: 130_000 }, { clock });
    const after = recovery.noticed.map(({ source, atMs, resolutionMs }) => ({
      source,
      ...{ ms: atMs - t0 - effAt, resolutionMs },
    }));
    t.same(after, [
      { source: 'kafka', ms: 1_000 - 100, resolutionMs: stepMs },
      // Its times are the controller's already.
      { source: 'swarm', ms: 15_000, resolutionMs: stepMs },
      { source: 'spark-master', ms: 60_000 - 100, resolutionMs: stepMs },
    ]);
    t.match(recovery.instants.det, recovery.noticed[0]);
    t.equal(recovery.figures.detection?.ms, 900);
    t.match(recovery.instants.red, { source: 'spark-master', atMs: t0 + effAt + 61_000 - 100 });
    t.equal(recovery.redundancy, 'restored', 'who was replaced at once is missing in no count');
    const ordered = judge({ age, views, endMs: 130_000 }, { clock, through: 'kafka' });
    t.equal(ordered.figures.detection?.ms, 15_000, 'whoever was told to has noticed nothing');
    t.equal(ordered.noticed.length, 3);
  });

  t.test('may have been noticed since the answer before was asked for, not since it came', async (t) => {
    const lost = (ms: number) => ms >= effAt + 2_000 && ms < effAt + 15_000;
    const views = (ms: number): Views => [
      ...spark({ executors: lost(ms) ? 2 : 3 }),
      { source: 'swarm', parts: { nodesReady: lost(ms) ? 5 : 6 }, losses: 0 },
    ];
    const signal = { age: withDips(dip(effAt, 10_000)), views, answerMs: 180, endMs: 130_000 };
    const recovery = judge(signal, { clock: { offsetMs: 100, boundMs: 5 } });
    t.same(
      recovery.noticed.map(({ resolutionMs }) => resolutionMs),
      [stepMs + 180, stepMs + 180],
    );
    t.equal(recovery.instants.red?.resolutionMs, stepMs + 180);
  });

  t.test('wants to hear everybody at the end who was heard before the fault', async (t) => {
    const zookeeper = { source: 'zookeeper', parts: { serversServing: 1 }, losses: 0 } as const;
    const heard = (when: (ms: number) => boolean) =>
      judge({
        age: withDips(dip(effAt, 10_000)),
        views: (ms) => [...spark(), ...(when(ms) ? [zookeeper] : [])],
        endMs: 130_000,
      }).redundancy;
    t.equal(
      heard((ms) => ms < effAt || ms > effAt + 2_000),
      'kept',
      'one question may get no answer',
    );
    t.equal(
      heard((ms) => ms < effAt + 1_000),
      'unknown',
    );
    t.equal(
      heard((ms) => ms < effAt),
      'unknown',
    );
    t.equal(
      heard((ms) => ms > effAt),
      'kept',
    );
  });

  t.test('whoever could not be asked for seconds was not there, and is back when it answers', async (t) => {
    const away = (ms: number) => ms > effAt && ms < effAt + 22_000;
    const kafka = (losses: number): Views[number] => ({ source: 'kafka', parts: { brokers: 1 }, losses });
    const swarm = (ms: number): Views[number] => ({
      ...{ source: 'swarm', parts: { tasksRunning: ms > effAt && ms < effAt + 6_000 ? 10 : 11 }, losses: 0 },
    });
    const told = (lossesThen: number) =>
      judge({
        age: withDips(dip(effAt, 30_000)),
        views: (ms) => [...(away(ms) ? [] : [kafka(ms > effAt ? lossesThen : 0)]), swarm(ms)],
        endMs: 150_000,
      });
    const recovery = told(0);
    t.equal(recovery.redundancy, 'restored');
    t.match(recovery.instants, { det: { source: 'swarm' }, red: { source: 'kafka' } });
    t.equal(recovery.figures.redundancy?.ms, 22_000);
    // The last question without an answer was asked three seconds before the last row without one at most.
    t.equal(recovery.instants.red?.resolutionMs, stepMs + 3_000);
    t.same(told(1).instants.red, recovery.instants.red, 'with other members, too');
  });

  t.test("a hole between rows is the observer's, and nobody's silence", async (t) => {
    const present = (ms: number) => ms < effAt + 20_000 || ms > effAt + 24_000;
    const recovery = judge({ age: withDips(dip(effAt, 10_000)), present, endMs: 130_000 });
    t.equal(recovery.redundancy, 'kept');
    t.equal(recovery.instants.red, undefined);
  });

  t.test('whoever was replaced between two answers was gone between them', async (t) => {
    const views = (ms: number): Views => [
      { source: 'spark-driver', parts: { executors: 3 }, losses: ms >= effAt + 2_000 ? 1 : 0 },
    ];
    const recovery = judge({ age: withDips(dip(effAt, 10_000)), views, endMs: 130_000 });
    t.equal(recovery.redundancy, 'restored');
    t.same(recovery.instants.red, recovery.instants.det);
  });

  t.test(
    'demands what each control plane told last, and minds no single row without its answer',
    async (t) => {
      const views = (ms: number) =>
        ms === 2_000 ? spark().slice(0, 1) : spark({ executors: ms < 1_000 ? 2 : 3 });
      const rows = rowsOf({ age: steady, views, endMs: 2_000 });
      const spares = sparesOf(rows);
      t.same(spares, {
        'spark-master': { mastersAlive: 1, workersAlive: 3 },
        'spark-driver': { executors: 3, cores: 6 },
      });
      t.same(missingSpares(rows, spares), []);
      t.same(missingSpares(rows.slice(-1), spares), ['spark-driver does not answer']);
      t.same(missingSpares([], spares), ['the observer gives no rows']);
      const fewer = rowsOf({ age: steady, views: () => spark({ workersAlive: 2 }), endMs: 1_000 });
      t.same(missingSpares(fewer, spares), ['workersAlive is 2, was 3 at the calibration']);
      t.equal(sparesOf(rowsOf({ age: steady, views: () => [], endMs: 1_000 })), undefined);
    },
  );

  t.test('rows that are kept say what they said, and share what they say alike', async (t) => {
    const views = (ms: number) => (ms < 750 ? spark({ executors: ms < 500 ? 3 : 2 }) : []);
    const rows = rowsOf({ age: steady, views, wrong: (ms) => (ms < 750 ? 0 : 1), endMs: 1_000 });
    const unseen = { ...rows[0]!, committedMs: null, visibleMs: null, batchId: null, batchAtMs: null };
    const given = [unseen, ...rows];
    const kept = new KeptRows();
    for (const row of given) kept.push(row);
    const names = Object.keys(unseen) as (keyof Sample)[];
    const said = kept.rows.map((row) => Object.fromEntries(names.map((name) => [name, row[name]])));
    t.strictSame(said, given);
    t.equal(kept.rows[1]!.correctness, kept.rows[0]!.correctness);
    t.not(kept.rows[4]!.correctness, kept.rows[3]!.correctness);
    t.equal(kept.rows[3]!.views[0]!.parts, kept.rows[0]!.views[0]!.parts);
    t.not(kept.rows[3]!.views[1]!.parts, kept.rows[2]!.views[1]!.parts);
  });

  t.test('counts whom a control plane has given up, whoever came in his place', async (t) => {
    const view = viewer('spark-driver');
    const losses = ([['a', 'b'], ['a', 'b', 'c'], ['a', 'd', 'c'], [], ['a']] as const).map(
      (members, at) => view({ members, parts: {} }, { askedMs: at, atMs: at }).losses,
    );
    t.same(losses, [0, 0, 1, 4, 4]);
  });

  t.test('judges correctness by what the trial added, and never nets it', async (t) => {
    const before = judge({ age: steady, wrong: () => 4, endMs: 100_000 });
    t.equal(before.verdict.correctness, 'Correct');
    const during = judge({ age: steady, wrong: (ms) => (ms > effAt + 9_000 ? 6 : 4), endMs: 100_000 });
    t.equal(during.verdict.correctness, 'Incorrect');
    t.equal(during.correctness.wrong, 2);
    const wrong = (ms: number) => (ms > effAt - 5_000 ? 6 : 4);
    const instants = { cmdMs: t0 + effAt - 8_000, effMs: t0 + effAt, effResolutionMs: 8_000 };
    const atOnce = judge({ age: steady, wrong, endMs: 100_000 }, { instants });
    t.equal(atOnce.correctness.wrong, 2, 'also what went wrong before the effect was seen');
  });

  t.test('is not correct when results lack records, or have too many', async (t) => {
    const bad = ['shortWindows', 'missingRecords', 'longWindows', 'lateDropped', 'misplaced'] as const;
    for (const part of [...bad, 'reemitted', 'unjudged'] as const) {
      const rows = rowsOf({ age: steady, endMs: 100_000 }).map((row) => ({
        ...row,
        correctness: { ...row.correctness, [part]: row.atMs > t0 + effAt + 9_000 ? 3 : 0 },
      }));
      const { verdict, correctness } = analyzeRecovery(observe({ age: steady, endMs: 0 }, { rows }));
      const isBad = (bad as readonly string[]).includes(part);
      t.equal(verdict.correctness, isBad ? 'Incorrect' : 'Correct', part);
      t.equal(correctness[part], 3);
    }
    const replayed = judge({ age: steady, wrong: (ms) => (ms > effAt ? 1 : 4), endMs: 100_000 });
    t.match(replayed, { verdict: { correctness: 'Correct' }, correctness: { wrong: 0 } });
  });

  t.test('is the same whatever the offset of the clocks', async (t) => {
    const signal = { age: withDips(dip(effAt, 18_000)), endMs: 130_000 };
    const plain = judge(signal);
    fc.assert(
      fc.property(fc.integer({ min: -86_400_000, max: 86_400_000 }), (offsetMs) => {
        const instants = { effMs: t0 + effAt - offsetMs, effResolutionMs: 40 };
        const shifted = judge(signal, { instants, clock: { offsetMs, boundMs: 5 } });
        t.same(shifted.figures, plain.figures);
        t.equal(shifted.instants.rec!.atMs, plain.instants.rec!.atMs - offsetMs);
      }),
      { numRuns: 20 },
    );
  });

  t.test('grows with the stall, and is never shorter than what stood still', async () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5_000, max: 60_000 }),
        fc.integer({ min: quiet, max: 20_000 }),
        (ms, more) => {
          const ttr = (stallMs: number) =>
            judge({ age: withDips(dip(effAt, stallMs)), endMs: 220_000 }).figures.recovery!.ms;
          const short = ttr(ms);
          return short >= ms - 1_000 && ttr(ms + more) >= short;
        },
      ),
      { numRuns: 30 },
    );
  });

  t.test('band is ordered: a stricter threshold recovers no sooner', async () => {
    fc.assert(
      fc.property(fc.integer({ min: 5_000, max: 60_000 }), (stallMs) => {
        const { recoveryBand } = judge({ age: withDips(dip(effAt, stallMs)), endMs: 220_000 });
        const [tight, middle, loose] = recoveryBand.map(({ ms }) => ms!);
        return tight! >= middle! && middle! >= loose!;
      }),
      { numRuns: 30 },
    );
  });
});

/** When the job commits, and up to when each commit makes records visible. */
interface Job {
  readonly periodMs: number;
  /** From a record's intended time to the commit that shows it, at least. */
  readonly latencyMs: number;
  readonly stalls?: readonly { readonly fromMs: number; readonly ms: number }[];
  /** How much of its schedule it can work off in a second, in seconds; as much as there is when absent. */
  readonly speed?: number;
}

/** F_visible of a job that commits by a clock, stops by command for a known time, commits when that is over, and goes on. */
function ageOfJob({ periodMs, latencyMs, stalls = [], speed = Infinity }: Job, endMs: number) {
  const visible: { readonly atMs: number; readonly upToMs: number }[] = [];
  let upToMs = -latencyMs;
  for (let atMs = -2 * periodMs; atMs <= endMs; ) {
    upToMs = Math.min(atMs - latencyMs, upToMs + periodMs * speed);
    visible.push({ atMs, upToMs });
    const nextMs = atMs + periodMs;
    const stall = stalls.find(({ fromMs, ms }) => fromMs <= nextMs && nextMs < fromMs + ms);
    atMs = stall ? stall.fromMs + stall.ms : nextMs;
  }
  let newest = 0;
  return (ms: number) => {
    // Rows ask in the order of time.
    while (newest + 1 < visible.length && visible[newest + 1]!.atMs <= ms) newest++;
    return ms - visible[newest]!.upToMs;
  };
}

const calibrateJob = (job: Job): Calibration =>
  calibrate(rowsOf({ age: ageOfJob(job, 120_000), endMs: 120_000 })) as Calibration;

t.test('against a job whose commits are known', async (t) => {
  const jobs = fc.record({
    periodMs: fc.integer({ min: 400, max: 3_000 }),
    latencyMs: fc.integer({ min: 100, max: 2_000 }),
  });
  const phase = fc.integer({ min: 0, max: 5_000 });

  t.test('the bound of a stall covers how long the job was stopped', async () => {
    fc.assert(
      fc.property(jobs, phase, fc.integer({ min: 8_000, max: 90_000 }), (job, later, ms) => {
        const stalled = { ...job, stalls: [{ fromMs: effAt + later, ms }] };
        const endMs = effAt + 150_000;
        // rowsOf commits once a second: the job's own gap is its period.
        const own = { ...calibrateJob(job), commitGapMs: job.periodMs };
        const { figures } = judge({ age: ageOfJob(stalled, endMs), endMs }, { calibration: own });
        return Math.abs(figures.stall!.ms - ms) <= figures.stall!.errorMs;
      }),
      { numRuns: 100 },
    );
  });

  t.test('the bound of a stall covers the worst phase of rows, commits and stop', async (t) => {
    // Stopped right after a commit that a row shows 200 ms late, over as a row is taken; rows show the normal gap as 1250 ms.
    const job = { periodMs: 1_100, latencyMs: 500, stalls: [{ fromMs: 36_301, ms: 23_699 }] };
    const own = { ...calibrateJob({ ...job, stalls: [] }), commitGapMs: job.periodMs };
    const { stall } = judge({ age: ageOfJob(job, 150_000), endMs: 150_000 }, { calibration: own }).figures;
    t.same(stall, { ms: 60_000 - 36_500 - 1_250, errorMs: 2 * stepMs + 40 + 1_100 + 5 });
    t.ok(23_699 - stall!.ms <= stall!.errorMs);
    t.ok(23_699 - stall!.ms > stall!.errorMs - stepMs, 'one gap between rows would not be enough');
  });

  t.test('the bound of a recovery covers when the last late result became visible', async () => {
    fc.assert(
      fc.property(jobs, phase, fc.integer({ min: 12_000, max: 90_000 }), (job, later, ms) => {
        const stalled = { ...job, stalls: [{ fromMs: effAt + later, ms }] };
        const endMs = effAt + 150_000;
        const own = { ...calibrateJob(job), commitGapMs: job.periodMs };
        const { figures } = judge({ age: ageOfJob(stalled, endMs), endMs }, { calibration: own });
        return Math.abs(figures.recovery!.ms - (later + ms)) <= figures.recovery!.errorMs;
      }),
      { numRuns: 100 },
    );
  });

  t.test('a stall of the smallest size that is said to be seen is seen', async () => {
    fc.assert(
      fc.property(jobs, phase, (job, later) => {
        const endMs = effAt + 100_000;
        const own = { ...calibrateJob(job), commitGapMs: job.periodMs };
        const quietly = judge({ age: ageOfJob(job, endMs), endMs }, { calibration: own });
        const stalls = [{ fromMs: effAt + later, ms: quietly.smallestStallMs! + 1 }];
        const seen = judge({ age: ageOfJob({ ...job, stalls }, endMs), endMs }, { calibration: own });
        return quietly.verdict.recovery === 'Masked' && seen.verdict.recovery === 'Recovered';
      }),
      { numRuns: 100 },
    );
  });

  t.test('catching up is forecast from the rate at which its first half went', async (t) => {
    const job = { periodMs: 1_000, latencyMs: 1_000, speed: 3 };
    const endMs = effAt + 150_000;
    const own = { calibration: calibrateJob(job) };
    const once = { ...job, stalls: [{ fromMs: effAt, ms: 30_000 }] };
    const { catchUp, catchUpPredicted } = judge({ age: ageOfJob(once, endMs), endMs }, own).figures;
    // Three seconds of schedule a second, one of them new: 30 s x (1/3) / (1 - 1/3).
    t.ok(Math.abs(catchUpPredicted!.ms - 15_000) <= catchUpPredicted!.errorMs, `${catchUpPredicted!.ms}`);
    t.ok(catchUpPredicted!.errorMs < 3_000, `${catchUpPredicted!.errorMs}`);
    t.ok(Math.abs(catchUp!.ms - 15_000) <= 2_000, `${catchUp!.ms}`);
    const twice = { ...once, stalls: [...once.stalls, { fromMs: effAt + 42_000, ms: 12_000 }] };
    const disturbed = judge({ age: ageOfJob(twice, endMs), endMs }, own).figures;
    t.same(disturbed.catchUpPredicted, catchUpPredicted, 'a second stall is no part of the forecast');
    t.ok(disturbed.catchUp!.ms > 28_000, `${disturbed.catchUp!.ms}`);
    const atOnce = { ...once, speed: Infinity };
    t.equal(judge({ age: ageOfJob(atOnce, endMs), endMs }, own).figures.catchUpPredicted, undefined);
  });
});

t.test("the recovery told from rows is within its bound of what the job's commit log says", async () => {
  const schedule = { baseMs: t0, rate: 200, partitions: 2 };
  const endMs = effAt + 240_000;
  /** A job that commits about once a second what was due, at most `speed` times as much as comes in. */
  const commitsOf = (gaps: readonly number[], stallMs: number, speed: number): Commit[] => {
    const commits: Commit[] = [];
    let ms = 0;
    let takenMs = 0;
    for (let batch = 0; ms < endMs; batch++) {
      const lastMs = ms;
      ms += gaps[batch % gaps.length]!;
      if (lastMs <= effAt && ms > effAt) ms += stallMs;
      takenMs = Math.min(ms - 800, takenMs + speed * (ms - lastMs - (ms - lastMs > stallMs ? stallMs : 0)));
      commits.push({
        atMs: t0 + ms,
        ends: [0, 1].map((partition) => dueCount(schedule, partition, t0 + takenMs)),
      });
    }
    return commits;
  };
  const rowsBy = (commits: readonly Commit[], untilMs: number): Sample[] => {
    const frontiers = commits.map(({ atMs, ends }) => ({
      batchAtMs: atMs,
      visibleMs: Math.min(...ends.map((end, partition) => intendedMs(schedule, partition, end))),
    }));
    return rowsOf({ age: () => null, endMs: untilMs }).flatMap((row) => {
      const newest = frontiers.findLast(({ batchAtMs }) => batchAtMs <= row.atMs);
      return newest ? [{ ...row, ...newest }] : [];
    });
  };
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 800, max: 1_400 }), { minLength: 5, maxLength: 30 }),
      fc.integer({ min: 5_000, max: 60_000 }),
      fc.double({ min: 2.5, max: 8, noNaN: true }),
      (gaps, stallMs, speed) => {
        const own = calibrate(rowsBy(commitsOf(gaps, 0, speed), effAt));
        if ('problem' in own) return false;
        const commits = commitsOf(gaps, stallMs, speed);
        const rows = rowsBy(commits, endMs);
        const recovery = judge({ age: () => null, endMs }, { rows, calibration: own });
        const { thetaMs, figures } = recovery;
        const truth = lastViolationEnd(commits, schedule, {
          fromMs: t0 + effAt,
          thetaMs,
          gapMs: own.commitGapMs,
        });
        const { ms, errorMs } = figures.recovery!;
        return Math.abs(ms - ((truth ?? t0 + effAt) - t0 - effAt)) <= errorMs;
      },
    ),
    { numRuns: 300 },
  );
});

t.test('whatever the signal', async (t) => {
  const endMs = effAt + 160_000;
  /** Levels of F_visible by seconds: steady, or anything. */
  const levels = fc.array(
    fc.record({
      seconds: fc.integer({ min: 1, max: 40 }),
      extraMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 60_000 })),
    }),
    { minLength: 1, maxLength: 20 },
  );
  const ageOf = (drawn: readonly { readonly seconds: number; readonly extraMs: number }[]) => {
    const extras = drawn.flatMap(({ seconds, extraMs }) => Array<number>(seconds).fill(extraMs));
    return (ms: number) => steady(ms) + (extras[Math.floor((ms - effAt) / 1_000)] ?? 0);
  };
  const hold = fc.oneof(fc.constant(undefined), fc.integer({ min: 1_000, max: 60_000 }));
  const maxRecoveryMs = 90_000;
  const trial = (age: Signal['age'], holdMs: number | undefined, settings: Partial<Observation> = {}) => {
    const instants = {
      ...{ cmdMs: t0 + effAt - 50, effMs: t0 + effAt, effResolutionMs: 40 },
      ...(holdMs !== undefined && { endMs: t0 + effAt + holdMs }),
    };
    return observe({ age, endMs }, { instants, maxRecoveryMs, ...settings });
  };

  t.test('recovery lies between the fault and T_max, and the stall within the time watched', async () => {
    fc.assert(
      fc.property(levels, hold, (drawn, holdMs) => {
        const observation = trial(ageOf(drawn), holdMs);
        const { figures, verdict } = analyzeRecovery(observation);
        const { stopMs, effMs } = layOut(observation);
        const { recovery, stall, firstOutput, catchUp } = figures;
        if (verdict.recovery === 'NotRecovered') return recovery === undefined && stall !== undefined;
        return (
          recovery!.ms >= 0 &&
          recovery!.ms <= (holdMs ?? 0) + maxRecoveryMs &&
          stall!.ms <= stopMs - effMs &&
          (firstOutput?.ms ?? 0) >= 0 &&
          (catchUp?.ms ?? 0) >= 0
        );
      }),
      { numRuns: 100 },
    );
  });

  t.test('another hour gives the same answer', async () => {
    fc.assert(
      fc.property(levels, hold, fc.integer({ min: -1e9, max: 1e9 }), (drawn, holdMs, byMs) => {
        const observation = trial(ageOf(drawn), holdMs);
        const { rows, instants } = observation;
        const later = {
          ...observation,
          rows: rows.map((row) => ({ ...row, atMs: row.atMs + byMs, visibleMs: row.visibleMs! + byMs })),
          instants: {
            ...{ cmdMs: instants.cmdMs! + byMs, effMs: instants.effMs + byMs, effResolutionMs: 40 },
            ...(instants.endMs !== undefined && { endMs: instants.endMs + byMs }),
          },
        };
        const shifted = analyzeRecovery({
          ...later,
          rows: later.rows.map((row) => ({
            ...row,
            ackedMs: row.ackedMs + byMs,
            sources: { ...row.sources, generatorSeenMs: row.sources.generatorSeenMs + byMs },
            views: row.views.map((view) => ({ ...view, atMs: view.atMs + byMs })),
          })),
        });
        const { instants: _, ...plain } = analyzeRecovery(observation);
        t.match(shifted, plain);
      }),
      { numRuns: 50 },
    );
  });

  t.test('a higher threshold recovers no later', async () => {
    const factor = fc.double({ min: 1, max: 20, noNaN: true });
    fc.assert(
      fc.property(levels, hold, factor, factor, (drawn, holdMs, a, b) => {
        const observation = trial(ageOf(drawn), holdMs);
        const [low, high] = [Math.min(a, b), Math.max(a, b)].map((each) => {
          return findRecovery(observation, each).recMs ?? Infinity;
        });
        return high! <= low!;
      }),
      { numRuns: 100 },
    );
  });

  t.test('a crossing shorter than a commit gap changes nothing but the count of excursions', async () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5_000, max: 40_000 }),
        fc.integer({ min: 60, max: 80 }),
        fc.integer({ min: 1, max: 4 }),
        (stallMs, afterS, rows) => {
          const dipped = withDips(dip(effAt, stallMs));
          const fromMs = effAt + afterS * 1_000;
          const peaked = (ms: number) => {
            return dipped(ms) + (ms >= fromMs && ms < fromMs + rows * stepMs ? 20_000 : 0);
          };
          // The fault could be noticed for 240 s: the peak is within the watch.
          const plain = judge({ age: dipped, endMs: effAt + 250_000 }, { death: 'silence' });
          const other = judge({ age: peaked, endMs: effAt + 250_000 }, { death: 'silence' });
          t.equal(other.excursions, plain.excursions + 1);
          t.same(other.figures.recovery, plain.figures.recovery);
          t.same(other.recoveryBand, plain.recoveryBand);
          t.same(other.verdict, plain.verdict);
          t.same(other.instants, plain.instants);
        },
      ),
      { numRuns: 50 },
    );
  });

  t.test('a dip after the end of the watch changes nothing', async () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5_000, max: 30_000 }),
        fc.integer({ min: 0, max: 60_000 }),
        fc.integer({ min: 3_000, max: 90_000 }),
        (stallMs, afterMs, laterMs) => {
          const first = dip(effAt, stallMs);
          const stoppedMs = 60_000 + stallMs + 30_000; // noticed by then, worked off, and H
          const second = dip(effAt + stoppedMs + afterMs, laterMs);
          const end = { endMs: effAt + 300_000 };
          t.same(judge({ age: withDips(first, second), ...end }), judge({ age: withDips(first), ...end }));
        },
      ),
      { numRuns: 50 },
    );
  });
});

t.test('the clock of the observer', async (t) => {
  const endMs = 130_000;
  const stalled = { age: withDips(dip(effAt, 18_000)), endMs };
  const setAt = (signal: Signal, ms: number, byMs: number): Sample[] =>
    rowsOf(signal).map((row) => {
      if (row.atMs < t0 + ms) return row;
      const atMs = row.atMs + byMs;
      return { ...row, atMs, views: row.views.map((view) => ({ ...view, atMs })) };
    });
  const judgeSet = (ms: number, byMs: number) => judge(stalled, { rows: setAt(stalled, effAt + ms, byMs) });

  t.test('that was set during the trial makes it invalid, without a number', async (t) => {
    for (const byMs of [-86_400_000, -3_000, -300, 1_500, 4_000, 86_400_000]) {
      const { verdict, message, figures, recoveryBand, instants, afterHeal, smallestStallMs } = judgeSet(
        9_000,
        byMs,
      );
      t.equal(verdict.recovery, 'Invalid', `${byMs} ms`);
      t.match(message, /the observer's clock was set (back|forward)/);
      t.same({ figures, recoveryBand, afterHeal, smallestStallMs }, { figures: {}, recoveryBand: [] });
      t.same(Object.keys(instants).sort(), ['cmd', 'eff']);
    }
  });

  t.test('that was set after the end of the watch changes nothing', async (t) => {
    t.equal(judgeSet(95_000, 7_000).verdict.recovery, 'Recovered');
  });

  t.test('is not suspected when rows were late, or the broker stood still', async (t) => {
    const late = { ...stalled, present: (ms: number) => ms < 40_000 || ms > 43_000 };
    t.equal(judge(late).verdict.recovery, 'Recovered');
    const rows = rowsOf(late).map((row) => {
      const sinceMs = row.atMs - (t0 + 38_000);
      return { ...row, ackedMs: row.atMs - (sinceMs > 0 && sinceMs < 9_000 ? sinceMs : 0) };
    });
    t.equal(judge(late, { rows }).verdict.recovery, 'Recovered', 'not acknowledged for a while either');
  });

  t.test('that was set spoils a calibration and a gate', async (t) => {
    const set = setAt({ age: steady, endMs: 60_000 }, 30_000, -2_000);
    t.match(calibrate(set), { problem: /clock was set back by 1\.8 s/ });
    t.match(gateProblems(set, calibration), [/clock was set back/]);
  });
});

t.test('arithmetic', async (t) => {
  t.test('quantiles are observed values', async (t) => {
    t.equal(quantile([3, 1, 2], 0.5), 2);
    t.equal(quantile([3, 1, 2], 0.99), 3);
    t.ok(Number.isNaN(quantile([], 0.5)));
  });

  t.test('the slope of a line is its own', async () => {
    fc.assert(
      fc.property(fc.double({ min: -10, max: 10, noNaN: true }), (drawn) => {
        const points = Array.from({ length: 50 }, (_, index): [number, number] => [
          t0 + index * 250,
          drawn * index * 250,
        ]);
        return Math.abs(slope(points) - drawn) < 1e-6;
      }),
    );
  });
});

/** What scipy says: made by test/support/statistics.py; null is Infinity. */
interface ScipyAnswers {
  readonly medianIntervals: readonly {
    readonly values: readonly (number | null)[];
    readonly level: number;
    readonly median: number | null;
    readonly low: number | null;
    readonly high: number | null;
    readonly coverage: number;
  }[];
  readonly proportions: readonly Readonly<Record<'successes' | 'n' | 'level' | 'low' | 'high', number>>[];
  readonly permutations: readonly ScipyPermutation[];
  readonly untiedPermutations: readonly ScipyPermutation[];
  readonly holm: readonly { readonly p: readonly number[]; readonly adjusted: readonly number[] }[];
}

interface ScipyPermutation {
  readonly a: readonly (number | null)[];
  readonly b: readonly (number | null)[];
  readonly p: number;
}

t.test('statistics', async (t) => {
  const scipy = JSON.parse(
    readFileSync(join(packageRoot, 'test', 'support', 'statistics.json'), 'utf8'),
  ) as ScipyAnswers;
  const orInfinity = (value: number | null) => value ?? Infinity;
  const near = (value: number | undefined, wanted: number, relative = 1e-9) =>
    Math.abs(value! - wanted) <= relative * wanted;
  const upTo = (n: number) => Array.from({ length: n }, (_, index) => index + 1);

  t.test('of a median are as scipy has them', async (t) => {
    for (const { values, level, coverage, ...wanted } of scipy.medianIntervals) {
      const { coverage: ours, ...interval } = medianInterval(values.map(orInfinity), level)!;
      t.same(interval, {
        ...{ median: orInfinity(wanted.median), low: orInfinity(wanted.low), high: orInfinity(wanted.high) },
      });
      t.ok(near(ours, coverage), `${ours} is ${coverage}`);
    }
  });

  t.test('of a median are not told below six values, or where the level is out of reach', async (t) => {
    t.equal(medianInterval([1, 2, 3, 4, 5]), undefined);
    t.equal(medianInterval(upTo(6))?.coverage, 1 - 2 / 2 ** 6);
    t.equal(medianInterval(upTo(7), 0.99), undefined, 'the range of seven covers in 98.4 %');
    t.same(medianInterval(upTo(8), 0.99), { median: 4.5, low: 1, high: 8, coverage: 1 - 2 / 2 ** 8 });
  });

  t.test('of a median cover the true one as often as they say', async (t) => {
    const random = seededRandom(59);
    const runs = 2_000;
    const covers = upTo(runs).filter(() => {
      const { low, high } = medianInterval(upTo(15).map(() => -Math.log(1 - random())))!;
      return low <= Math.LN2 && Math.LN2 <= high;
    });
    const { coverage } = medianInterval(upTo(15))!;
    const fourSigma = 4 * Math.sqrt((coverage * (1 - coverage)) / runs);
    t.ok(Math.abs(covers.length / runs - coverage) < fourSigma, `${covers.length / runs}, said ${coverage}`);
  });

  t.test('of proportions are as scipy has them', async (t) => {
    for (const { successes, n, level, low, high } of scipy.proportions) {
      const interval = proportionInterval(successes, n, level)!;
      t.ok(near(interval.low, low) && near(interval.high, high), `${successes} of ${n}: ${low} to ${high}`);
      t.equal(interval.proportion, successes / n);
    }
    t.equal(proportionInterval(0, 0), undefined);
  });

  t.test('of two arms are as scipy has them, with ties and censored trials', async (t) => {
    for (const { a, b, p } of [...scipy.permutations, ...scipy.untiedPermutations]) {
      const ours = permutationPValue(a.map(orInfinity), b.map(orInfinity));
      t.ok(near(ours, p), `${a.length} against ${b.length}: ${ours} is ${p}`);
    }
  });

  t.test('of two large arms are drawn, and near the exact ones', async (t) => {
    const [a, b] = [upTo(150), upTo(150).map((value) => value + 9.5)];
    // As scipy.stats.mannwhitneyu(a, b, method='exact') says.
    t.ok(Math.abs(permutationPValue(a, b) - 0.066266132803913) < 0.005, `${permutationPValue(a, b)}`);
    t.equal(permutationPValue(a, b), permutationPValue(a, b), 'the same at each call');
  });

  t.test('of two arms do not depend on their order, or on anything but ranks', async () => {
    const arm = fc.array(fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constant(Infinity)), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(arm, arm, (a, b) => {
        const p = permutationPValue(a, b);
        const bent = (values: readonly number[]) => values.map((value) => value ** 3 + 1);
        return (
          p > 0 && p <= 1 && near(permutationPValue(b, a), p) && permutationPValue(bent(a), bent(b)) === p
        );
      }),
    );
  });

  t.test('of a ratio are told only where both medians are told, finite and above zero', async (t) => {
    const a = [20, 22, 24, 26, 28, 30];
    t.same(ratioOfMedians(a, a), { ratio: 1, pValue: 1 });
    t.equal(
      ratioOfMedians(
        a.map((ms) => 3 * ms),
        a,
      )?.ratio,
      3,
    );
    t.equal(ratioOfMedians(a.slice(1), a), undefined, 'five trials bear no median');
    t.equal(ratioOfMedians([1, 2, 3, Infinity, Infinity, Infinity], a), undefined);
    t.equal(ratioOfMedians(a, [0, 0, 0, 0, 5, 6]), undefined);
  });

  t.test('of several comparisons are those of closed testing', async (t) => {
    for (const { p, adjusted } of scipy.holm) {
      const ours = holm(p);
      t.ok(
        ours.every((value, index) => near(value, adjusted[index]!)),
        `${p} become ${ours}`,
      );
    }
    t.same(holm([]), []);
  });

  t.test('say maximum below 300 values, and no p95 below 59', async (t) => {
    t.same(maximumOrP99(upTo(299)), { name: 'maximum', value: 299 });
    t.same(maximumOrP99(upTo(300)), { name: 'p99', value: 297 });
    t.equal(maximumOrP99([]), undefined);
    t.equal(p95(upTo(58)), undefined);
    t.equal(p95(upTo(59)), 57);
  });

  t.test('claim no recovery time when more than a tenth of the controls was violated', async (t) => {
    const controls = (violated: number, masked: number) =>
      [...Array(violated).fill('Recovered'), ...Array(masked).fill('Masked'), 'Invalid'].map((recovery) => ({
        verdict: { recovery, correctness: 'Correct' as const },
      }));
    t.same(controlsAllowClaim(controls(1, 9)), { allowed: true, violated: 1, judged: 10 });
    t.same(controlsAllowClaim(controls(1, 8)), { allowed: false, violated: 1, judged: 9 });
    t.same(controlsAllowClaim([{}]), { allowed: true, violated: 0, judged: 0 });
  });
});
