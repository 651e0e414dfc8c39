import { resourceKinds } from '../../controller/resource-kinds.ts';
import { toCalibrationStatus } from '../../controller/schedule/to-trial-record.ts';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import { API_VERSION } from '../../crds/group.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { FaultKind } from '../../state-machines/contract.ts';
import { analyzeRecovery } from '../../state-machines/recovery/analyze-recovery.ts';
import { type Calibration, calibrate } from '../../state-machines/recovery/calibrate.ts';
import { noFindings, type Sample } from '../../state-machines/recovery/sample.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';

// Campaigns of which the truth is known, judged by the product's own analysis: no machine is needed to make them.

/** What a fault does to the stream, ms since t_eff. */
export interface Shape {
  /** Nothing new is visible for so long; 0: nobody notices. */
  readonly stallMs: number;
  /** Records per record due while the lag is worked off; 0: never. */
  readonly speed: number;
  /** The control plane misses a part from the first on until the second. */
  readonly lossMs?: readonly [fromMs: number, toMs: number];
  /** Kafka acknowledges nothing for so long. */
  readonly unackedMs?: number;
  /** Of an instant fault there is none. */
  readonly holdMs?: number;
  /** Results that are wrong, from the end of the stall on. */
  readonly wrong?: number;
  /** The same results once more, from the end of the stall on. */
  readonly reemitted?: number;
  /** The observer is silent between the two. */
  readonly silenceMs?: readonly [fromMs: number, toMs: number];
}

export interface SyntheticFault {
  readonly name: string;
  /** The fault's part of the manifest, beside its name; a control has none. */
  readonly entry?: Readonly<Record<string, unknown>> & { readonly target: object };
  readonly kind: string;
  readonly death: FaultKind['death'];
  readonly target: string;
  readonly shapes: readonly Shape[];
}

export interface SyntheticCampaign {
  readonly schedule: FaultSchedule;
  readonly cluster: ClusterSpec;
  readonly status: ScheduleStatus;
  /** By run id. */
  readonly rows: ReadonlyMap<string, readonly Sample[]>;
}

const rowMs = 250;
const ratePerMs = 2;
const triggerMs = 1_000;
const gateMs = 60_000;
const maxRecoveryMs = 600_000;
/** 27 November 2026, 02:00 UTC. */
export const startMs = Date.UTC(2026, 10, 27, 2);

/** What Spark says when so many workers and executors of three are alive. */
function viewsOf(atMs: number, alive: number): Sample['views'] {
  const losses = 3 - alive;
  const times = { askedMs: atMs, atMs };
  return [
    { source: 'spark-master', ...times, parts: { mastersAlive: 1, workersAlive: alive }, losses },
    { source: 'spark-driver', ...times, parts: { executors: alive, cores: alive }, losses },
  ];
}

/** Rows of one shape around `effMs` (epoch ms), as the observer would have written them. */
export function* syntheticRows(
  shape: Shape,
  random: () => number,
  [fromMs, toMs]: readonly [number, number],
  effMs: number,
): Iterable<Sample> {
  const { stallMs, speed, lossMs, unackedMs = 0, wrong = 0, reemitted = 0, silenceMs } = shape;
  const phaseMs = random() * triggerMs;
  let visibleMs = 0;
  let batchAtMs = 0;
  for (let ms = fromMs; ms <= toMs; ms += rowMs) {
    const atMs = effMs + ms;
    if (silenceMs && ms > silenceMs[0] && ms < silenceMs[1]) continue;
    const sinceBatchMs = (ms + 1e7 * triggerMs + phaseMs) % triggerMs;
    const isStalled = ms > 0 && ms <= stallMs;
    const leftMs = ms <= stallMs ? 0 : speed === 0 ? ms : Math.max(0, stallMs - (speed - 1) * (ms - stallMs));
    // A batch takes what was due when it began, so results are one to two triggers old.
    if (!isStalled) visibleMs = Math.max(visibleMs, atMs - 900 - sinceBatchMs - 250 * random() - leftMs);
    if (!isStalled) batchAtMs = Math.max(batchAtMs, Math.round(atMs - sinceBatchMs));
    const isLost = lossMs !== undefined && ms >= lossMs[0] && ms < lossMs[1];
    const isUnacked = ms > 0 && ms < unackedMs;
    const ackedMs = isUnacked ? effMs - 60 : atMs - 60 - Math.round(180 * random());
    const isAfter = ms > stallMs && ms > 0;
    yield {
      ...{ atMs, ackedMs, committedMs: Math.round(visibleMs), visibleMs: Math.round(visibleMs) },
      intended: Math.round((ms - fromMs) * ratePerMs),
      acked: Math.max(0, Math.round((ackedMs - effMs - fromMs) * ratePerMs)),
      generatorBehindMs: Math.round(80 * random()),
      batchId: Math.floor((batchAtMs - effMs - fromMs) / triggerMs),
      batchAtMs,
      views: viewsOf(atMs - Math.round(40 * random()), isLost ? 2 : 3),
      batch: null,
      sources: { observerStartedMs: 1, generatorStartedMs: 1, generatorSeenMs: atMs, countedSinceMs: 0 },
      correctness: {
        ...noFindings,
        wrong: isAfter ? wrong : 0,
        reemitted: isAfter ? reemitted : 0,
      },
    };
  }
}

/** The same row from a clock that is ahead, and by which everything in the workload is stamped. */
function ahead(row: Sample, byMs: number): Sample {
  return {
    ...row,
    ...{ atMs: row.atMs + byMs, ackedMs: row.ackedMs + byMs, batchAtMs: row.batchAtMs! + byMs },
    ...{ committedMs: row.committedMs! + byMs, visibleMs: row.visibleMs! + byMs },
    views: row.views.map((view) => ({ ...view, atMs: view.atMs + byMs })),
    sources: { ...row.sources, generatorSeenMs: row.sources.generatorSeenMs + byMs },
  };
}

/** A campaign with one trial per shape, faults interleaved; only the seed decides. The workload's clock may be ahead. */
export function syntheticCampaign(
  name: string,
  faults: readonly SyntheticFault[],
  {
    seed = 42,
    preset = 'standard',
    rowsOffsetMs = 0,
  }: { readonly seed?: number; readonly preset?: string; readonly rowsOffsetMs?: number } = {},
): SyntheticCampaign {
  const calibration = calibrate([
    ...syntheticRows({ stallMs: 0, speed: 0 }, seededRandom(seed), [-300_000, -1], startMs),
  ]) as Calibration;
  const rounds = Math.max(...faults.map(({ shapes }) => shapes.length));
  const order = Array.from({ length: rounds }, (_, round) =>
    faults.flatMap((fault) => (fault.shapes[round] ? [{ fault, shape: fault.shapes[round] }] : [])),
  ).flat();
  const rows = new Map<string, readonly Sample[]>();
  let atMs = startMs + gateMs;
  const trials = order.map(({ fault, shape }, index): TrialRecord => {
    const number = index + 1;
    const runId = `${name}-1-${fault.name}-${number}`;
    const effMs = atMs;
    const endMs = effMs + 1_000 + watchedMs(shape, fault.death);
    atMs = endMs + 60_000 + gateMs;
    const made = syntheticRows(shape, seededRandom(seed + number), [-gateMs, endMs - effMs], effMs);
    const own = [...made].map((row) => ahead(row, rowsOffsetMs));
    rows.set(runId, own);
    const identity = { number, fault: fault.name, kind: fault.kind, runId, seed: seed + index };
    return judged(identity, { fault, shape, effMs, rows: own, rowsOffsetMs, calibration, endMs });
  });
  return {
    rows,
    schedule: resourceKinds.FaultSchedule.parse(scheduleOf(name, faults, { seed, preset })),
    cluster: resourceKinds.ClusterSpec.parse(clusterText),
    status: {
      ...{ uid: 'uid-1', observedGeneration: 1, conditions: [], seed, trials },
      calibration: toCalibrationStatus({ calibration }, triggerMs),
    },
  };
}

/** As long as the product would watch. */
function watchedMs(
  { stallMs, speed, holdMs = 0, lossMs = [0, 0] }: Shape,
  death: FaultKind['death'],
): number {
  if (speed === 0) return maxRecoveryMs + 1_000;
  const recoveredMs = stallMs + stallMs / Math.max(0.1, speed - 1);
  return Math.max(recoveredMs + 40_000, lossMs[1] + 5_000, holdMs + (death === 'silence' ? 240_000 : 60_000));
}

interface Judged {
  readonly fault: SyntheticFault;
  readonly shape: Shape;
  readonly effMs: number;
  readonly endMs: number;
  readonly rows: readonly Sample[];
  readonly rowsOffsetMs: number;
  readonly calibration: Calibration;
}

function judged(
  identity: Pick<TrialRecord, 'number' | 'fault' | 'kind' | 'runId' | 'seed'>,
  { fault, shape, effMs, endMs, rows, rowsOffsetMs, calibration }: Judged,
): TrialRecord {
  const { holdMs } = shape;
  const { message, afterHeal, smallestStallMs, ...recovery } = analyzeRecovery({
    ...{ rows, calibration, triggerMs, maxRecoveryMs, death: fault.death },
    instants: {
      ...{ cmdMs: effMs - 130, effMs, effResolutionMs: 85 },
      ...(holdMs !== undefined && { endMs: effMs + holdMs, endResolutionMs: 90 }),
    },
    clock: { offsetMs: rowsOffsetMs, boundMs: 1.5 },
  });
  return {
    ...identity,
    ...{ targets: [fault.target], outcome: 'Healed' },
    startedAt: new Date(effMs - gateMs).toISOString(),
    finishedAt: new Date(endMs).toISOString(),
    ...{ ...recovery, recoveryBand: [...recovery.recoveryBand] },
    ...(smallestStallMs !== undefined && { smallestStallMs }),
    ...(afterHeal && { afterHeal }),
    ...(message !== undefined && { message }),
    settings: { 'streaming.RATE': '2000', 'streaming.PROFILE': 'defaults' },
    samples: `samples/${identity.runId}.ndjson`,
  };
}

function scheduleOf(name: string, faults: readonly SyntheticFault[], spec: object) {
  return {
    ...{ apiVersion: API_VERSION, kind: 'FaultSchedule', metadata: { name } },
    spec: {
      ...{ clusterRef: { name: 'six-nodes' }, when: { now: {} }, ...spec },
      faults: faults.flatMap(({ name: fault, entry }) => (entry ? [{ name: fault, ...entry }] : [])),
    },
  };
}

const clusterText = {
  ...{ apiVersion: API_VERSION, kind: 'ClusterSpec', metadata: { name: 'six-nodes' } },
  spec: {
    provisioner: { lab: {} },
    nodes: ['node1', 'node2', 'node3'].map((node, index) => ({
      name: node,
      role: index ? 'worker' : 'manager',
    })),
    checkpoint: { path: {} },
    stacks: [{ name: 'streaming', compose: '/stack.yaml', env: { RATE: '2000', PROFILE: 'defaults' } }],
  },
};

const workers = { services: { matchLabels: { role: 'spark-worker' } } };

/** Shapes that differ as much as those of a real lab do. */
function drawn(
  seed: number,
  count: number,
  of: (random: () => number, index: number) => Shape,
): readonly Shape[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, index) => of(random, index));
}

/** Four faults of four characters: ragged; with a trial that never ends; silent and once wrong; unnoticed. And controls. */
export const exampleFaults: readonly SyntheticFault[] = [
  {
    ...{
      name: 'worker-killed',
      kind: 'killContainer',
      death: 'crash',
      target: 'node6/streaming_spark-worker-3',
    },
    entry: { target: workers, killContainer: {} },
    shapes: drawn(1, 10, (random) => ({
      stallMs: 7_000 + 22_000 * random() ** 2,
      speed: 1.8 + random(),
      lossMs: [400 + 300 * random(), 11_000 + 7_000 * random()],
    })),
  },
  {
    ...{ name: 'broker-killed', kind: 'killContainer', death: 'crash', target: 'node2/streaming_kafka' },
    entry: { target: { services: { matchNames: ['kafka'] } }, killContainer: {} },
    shapes: drawn(2, 10, (random, index) => {
      const stallMs = 24_000 + 9_000 * random();
      return { stallMs, unackedMs: stallMs - 3_000, speed: index === 6 ? 0 : 2.5 + random() };
    }),
  },
  {
    ...{ name: 'worker-silent', kind: 'isolateNode', death: 'silence', target: 'node6' },
    entry: { target: { nodes: { matchLabels: { place: 'compute' } } }, hold: '180s', isolateNode: {} },
    shapes: drawn(3, 7, (random, index) => ({
      ...{ stallMs: 108_000 + 14_000 * random(), speed: 6, holdMs: 180_000 },
      lossMs: [104_000 + 9_000 * random(), 190_000 + 9_000 * random()],
      ...(index === 2 && { wrong: 3 }),
      ...(index === 4 && { silenceMs: [20_000, 31_000] as const }),
      ...(index === 5 && { reemitted: 12 }),
    })),
  },
  {
    ...{
      name: 'standby-paused',
      kind: 'pauseContainer',
      death: 'silence',
      target: 'node3/streaming_spark-master',
    },
    entry: { target: { services: { matchNames: ['spark-master'] } }, hold: '30s', pauseContainer: {} },
    shapes: drawn(4, 6, () => ({ stallMs: 0, speed: 2, holdMs: 30_000 })),
  },
  {
    ...{ name: 'control', kind: 'none', death: 'crash', target: 'nothing' },
    shapes: drawn(5, 7, () => ({ stallMs: 0, speed: 2 })),
  },
];
