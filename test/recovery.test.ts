import fc from 'fast-check';
import t from 'tap';
import { analyzeRecovery } from '../state-machines/recovery/analyze-recovery.ts';
import { type Calibration, calibrate, thetaOf } from '../state-machines/recovery/calibrate.ts';
import { calibrationProblems, gateProblems } from '../state-machines/recovery/gate.ts';
import { noFindings, type Sample, type Sources, type SystemView } from '../state-machines/recovery/sample.ts';
import { quantile, slope } from '../state-machines/recovery/signal.ts';
import type { Observation } from '../state-machines/recovery/timeline.ts';

const t0 = 1_700_000_000_000;
const stepMs = 250;
const fine: SystemView = { atMs: 0, mastersAlive: 1, workersAlive: 3, executors: 3, cores: 6 };

interface Signal {
  /** F_visible at `ms` since the start; null: nothing visible. */
  readonly age: (ms: number) => number | null;
  readonly system?: (ms: number) => Omit<SystemView, 'atMs'> | null;
  readonly wrong?: (ms: number) => number;
  readonly behind?: (ms: number) => number;
  readonly sources?: (ms: number) => Partial<Sources>;
  readonly present?: (ms: number) => boolean;
  readonly endMs: number;
}

/** Rows every 250 ms from a drawn signal; the job commits once a second. */
function rowsOf({
  age,
  system = () => fine,
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
    const view = system(ms);
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
      system: view && { ...view, atMs },
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
    });
    t.equal(thetaOf(calibration, 500), 2_750, 'p99 + the larger of trigger and commit gap');
    t.equal(thetaOf({ ...calibration, p99Ms: 10_000 }, 500), 12_500, '1.25 x p99 where that is more');
    t.equal(thetaOf(calibration, 4_000), 5_750);
  });

  t.test('is refused without results or commits', async (t) => {
    t.match(calibrate(rowsOf({ age: () => null, endMs: 10_000 })), { problem: /no result/ });
    t.match(calibrate(rowsOf({ age: steady, endMs: 2_000 })), { problem: /only 3 batches/ });
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
    t.match(problems({ age: () => 2_200 }), [/p99/]);
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
    t.match(String(problems({ age: (ms) => steady(ms) + Math.max(0, 2_000 - ms) })), /p99/);
  });
});

t.test('recovery', async (t) => {
  t.test('of a flat signal is masked, with the smallest stall that would have been seen', async (t) => {
    const recovery = judge({ age: steady, endMs: 100_000 });
    t.same(recovery.verdict, { recovery: 'Masked', correctness: 'Correct' });
    t.equal(recovery.figures.recovery?.ms, 0);
    t.equal(recovery.smallestStallMs, 2_750 - 1_000 + 1_000);
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
      recoveryBand.map(({ factor }) => factor),
      [1.1, 1.25, 1.5],
    );
  });

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
    // All others go on; F_visible is the slowest partition's by definition, so the row never gets young again.
    const recovery = judge({ age: (ms) => (ms < effAt ? steady(ms) : 1_000 + ms - effAt), endMs: 650_000 });
    t.equal(recovery.verdict.recovery, 'NotRecovered');
  });

  t.test('of a job that was late before the fault is invalid', async (t) => {
    const recovery = judge({ age: withDips(dip(effAt - 10_000, 15_000)), endMs: 120_000 });
    t.equal(recovery.verdict.recovery, 'Invalid');
    t.match(recovery.message, /late already/);
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
    const system = (ms: number) => ({ ...fine, executors: lost(ms) ? 2 : 3 });
    const recovery = judge({ age: withDips(dip(effAt, 10_000)), system, endMs: 130_000 });
    t.equal(recovery.figures.detection?.ms, 2_000);
    t.equal(recovery.figures.detection?.errorMs, stepMs + 40 + 5);
    t.equal(recovery.figures.redundancy?.ms, 15_000);
    t.equal(recovery.redundancy, 'restored');
  });

  t.test('noticed before the check had seen the effect counts as noticed at once', async (t) => {
    const cmdAt = effAt - 2_000;
    const system = (ms: number) => ({ ...fine, executors: ms >= effAt - 500 && ms < effAt + 15_000 ? 2 : 3 });
    const instants = { cmdMs: t0 + cmdAt, effMs: t0 + effAt, effResolutionMs: 40 };
    const recovery = judge({ age: withDips(dip(effAt, 10_000)), system, endMs: 130_000 }, { instants });
    t.equal(recovery.figures.detection?.ms, 0);
    t.equal(recovery.figures.redundancy?.ms, 15_000);
    t.equal(recovery.verdict.recovery, 'Recovered');
  });

  t.test('without its redundancy is degraded, and unknown is not back', async (t) => {
    const age = withDips(dip(effAt, 10_000));
    const short = judge({
      age,
      system: (ms) => ({ ...fine, workersAlive: ms > effAt ? 2 : 3 }),
      endMs: 130_000,
    });
    t.equal(short.verdict.recovery, 'RecoveredDegraded');
    t.equal(short.redundancy, 'lost');
    const unasked = judge({ age, system: () => null, endMs: 130_000 });
    t.equal(unasked.verdict.recovery, 'RecoveredDegraded');
    t.equal(unasked.redundancy, 'unknown');
  });

  t.test('judges correctness by what the trial added, and never nets it', async (t) => {
    const before = judge({ age: steady, wrong: () => 4, endMs: 100_000 });
    t.equal(before.verdict.correctness, 'Correct');
    const during = judge({ age: steady, wrong: (ms) => (ms > effAt + 9_000 ? 6 : 4), endMs: 100_000 });
    t.equal(during.verdict.correctness, 'Incorrect');
    t.equal(during.correctness.wrong, 2);
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
