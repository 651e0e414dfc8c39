import type { FaultKind, FaultRun, RunRecord } from '../../state-machines/contract.ts';
import { runFault } from '../../state-machines/fault-runner.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { missingNeeds } from '../../state-machines/missing-needs.ts';
import { type Lane, openLane, openLanes } from '../matrix/lane.ts';
import type { Measure } from './bench-site.ts';
import { median, type Reading } from './figure.ts';

/** Longer than any check takes: by then a shorter one would be over before its effect was proven. */
const holdMs = 2_000;
const graceMs = 30_000;
const settleMs = 120_000;

/** `effect-isolateNode`, `gone-isolateNode` and so on, each as median and maximum; and how precise holds are. */
export const figuresOf = ({ name }: FaultKind): readonly string[] =>
  ['effect', 'gone'].flatMap((what) => [`${what}-${name}-median`, `${what}-${name}-max`]);
const precisionFigures = ['hold-precision-median', 'hold-precision-max'];
export const kindFigures: readonly string[] = [...faultKinds.flatMap(figuresOf), ...precisionFigures];

interface Timed {
  readonly effectMs: number;
  /** Absent for a kind of which nothing is to be seen gone. */
  readonly goneMs?: number;
  /** How much later than asked for the undo began. */
  readonly lateMs?: number;
}

/**
 * For each kind, as its example aims it: from the order to the effect that an independent check sees, and from the order
 * to undo to the look that sees nothing any more. Beside it the bare round trip of a command on the same machine. Kinds
 * that the machines cannot do have no figures. With several lanes the runs of a kind go side by side: for those that take
 * the swarm half a minute, where milliseconds do not matter.
 */
export const measureFaultKinds: Measure<string> = async (site, signal) => {
  const n = site.runs ?? 30;
  const lanes = await openLanes(site.lanes, site.progress);
  const readings: Record<string, Reading> = {};
  const late: number[] = [];
  try {
    // Of holds alone all kinds can tell.
    const named = faultKinds.filter((kind) => figuresOf(kind).some(site.isWanted));
    for (const kind of named.length > 0 ? named : faultKinds) {
      const { node, scripts } = lanes[0]!.lab;
      const missing = await missingNeeds(node('node4'), kind.needs, scripts, signal);
      if (missing.length > 0) {
        site.progress(`${kind.name}: the machines lack ${missing.join()}`);
        continue;
      }
      const timed: (Timed & { readonly bareMs: number })[] = [];
      let left = n;
      const runAll = async (lane: Lane) => {
        while (left-- > 0) {
          const unsettled = await lane.settled(settleMs);
          if (unsettled.length > 0) {
            site.progress(`before ${kind.name}: ${unsettled.join('; ')}`);
            left = 0;
            await lane.close();
            lanes[lane.number] = await openLane(lane.number, site.progress);
            break;
          }
          const startMs = performance.now();
          await lane.lab.node('node4').exec('true', [], {}, signal);
          const bareMs = performance.now() - startMs;
          const one = await time(await lane.plan(kind, { holdMs, graceMs }), lane, signal);
          if (typeof one === 'string') {
            site.progress(`${kind.name}: ${one}`);
            left = 0;
          } else timed.push({ ...one, bareMs });
        }
      };
      await Promise.all(lanes.map(runAll));
      if (timed.length < n) continue;
      late.push(...timed.flatMap(({ lateMs }) => lateMs ?? []));
      const bare = timed.map(({ bareMs }) => bareMs);
      for (const what of ['effect', 'gone'] as const) {
        const values = timed.flatMap((each) => each[`${what}Ms`] ?? []);
        if (values.length < n) continue;
        const reading = (of: (values: readonly number[]) => number): Reading => ({
          ...{ value: of(values), unit: 'ms', n, baseline: of(bare) },
        });
        readings[`${what}-${kind.name}-median`] = reading(median);
        readings[`${what}-${kind.name}-max`] = reading((all) => Math.max(...all));
        const [middle, most] = [median(values), Math.max(...values)].map(Math.round);
        site.progress(`${kind.name}: ${what} ${middle} ms, at most ${most} ms (n=${n})`);
      }
    }
    const precision = (value: number, limit: number): Reading => ({
      ...{ value, unit: 'ms', n: late.length, baseline: 0, target: { of: 'value', sign: '<', limit } },
    });
    if (late.length === 0) return readings;
    return {
      ...readings,
      'hold-precision-median': precision(median(late), 10),
      'hold-precision-max': precision(Math.max(...late), 60),
    };
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
};

/** One run, or why there was none. */
async function time(run: FaultRun, lane: Lane, signal: AbortSignal): Promise<Timed | string> {
  const records: RunRecord[] = [];
  const journal = {
    write: async (record: RunRecord) => void records.push(record),
    unfinished: async () => [],
  };
  const { outcome, instants, message } = await runFault(run, { ...lane.lab.ports, journal }, signal);
  const { cmdMs, effMs, endMs, endResolutionMs } = instants;
  if (outcome !== 'Healed' || cmdMs === undefined || effMs === undefined) return `${outcome}: ${message}`;
  const undone = records.find(({ phase }) => phase === 'healing');
  return {
    effectMs: effMs - cmdMs,
    ...(endMs !== undefined && { goneMs: endResolutionMs ?? 0 }),
    ...(!run.instant && undone && { lateMs: undone.atMs - (effMs + run.holdMs) }),
  };
}
