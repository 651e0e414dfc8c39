import { crc32 } from 'node:zlib';
import { describeFrontier } from '../../compose/streaming/generator/describe-frontier.ts';
import { readProgress } from '../../compose/streaming/observer/job-progress.ts';
import { ObservedStream } from '../../compose/streaming/observer/observed-stream.ts';
import type { Oracle } from '../../compose/streaming/observer/oracle.ts';
import type { TopicSource } from '../../compose/streaming/observer/verify.ts';
import { openLedger } from '../../compose/streaming/records/ledger.ts';
import { type Catalogue, recordValue } from '../../compose/streaming/records/record.ts';
import { dueCount, intendedMs, type Schedule } from '../../compose/streaming/records/schedule.ts';
import type { WindowResult } from '../../compose/streaming/records/window.ts';
import type { Sample } from '../../state-machines/recovery/sample.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';

// Generator, broker and job as one pure function of a seed, with a place to go wrong in each: what an observer can read
// of them, and when. The job counts by its own arithmetic, from the bytes, as Spark does.

export interface Stored {
  readonly value: Buffer;
  /** When it can be read, and what the topic has stamped it with; epoch ms. */
  readonly atMs: number;
  readonly stampMs: number;
}

export interface Sent {
  readonly partition: number;
  readonly seq: number;
  readonly value: Buffer;
}

/** How the job comes back: where it reads on, and whether it still has what it had counted. */
export interface Restart {
  readonly atMs: number;
  readonly downMs: number;
  readonly from: 'checkpoint' | 'latest' | 'earliest';
  readonly state: 'kept' | 'lost';
}

export interface Simulation {
  readonly seed: number;
  readonly catalogue: Catalogue;
  readonly schedule: Schedule;
  /** How long the generator sends. */
  readonly seconds: number;
  readonly watermarkMs?: number;
  /** Stores what was sent, and acknowledged; here it may be lost, doubled, altered, kept for later... */
  readonly store?: (sent: Sent, store: (partition: number, value: Buffer) => void) => void;
  /** How often the job counts a record that it has read. */
  readonly times?: (partition: number, offset: number, value: Buffer) => number;
  /** Writes a result. */
  readonly emit?: (result: WindowResult, emit: (result: WindowResult) => void) => void;
  readonly restart?: Restart;
}

export interface SimulatedStream {
  readonly simulation: Simulation;
  /** By partition. */
  readonly events: readonly (readonly Stored[])[];
  readonly results: readonly (readonly Stored[])[];
  readonly acked: readonly (readonly number[])[];
  readonly commits: readonly {
    readonly atMs: number;
    readonly batchId: number;
    readonly endOffsets: readonly number[];
    readonly watermarkMs: number;
    readonly inputRows: number;
  }[];
  readonly endMs: number;
}

const resultPartitions = 3;
const tickMs = 100;
const triggerMs = 1_000;
/** When the generator has ended, what is stored is still counted. */
const drainMs = 15_000;
const windowMs = 5_000;
const quarterMs = 15 * 60_000;

export function simulateStream(simulation: Simulation): SimulatedStream {
  const { catalogue, schedule, seconds, seed, restart } = simulation;
  const random = seededRandom(seed);
  const { partitions } = catalogue;
  const lists = <T>(count: number) => Array.from({ length: count }, (): T[] => []);
  const [events, results] = [lists<Stored>(partitions), lists<Stored>(resultPartitions)];
  const acked = lists<number>(partitions);
  const commits: SimulatedStream['commits'][number][] = [];
  const store = simulation.store ?? (({ partition, value }, put) => put(partition, value));
  const emit = simulation.emit ?? ((result, put) => put(result));
  let nowMs = schedule.baseMs;
  const sendUntilMs = schedule.baseMs + seconds * 1_000;

  const send = () => {
    for (let partition = 0; partition < partitions; partition++) {
      const due = dueCount(schedule, partition, Math.min(nowMs, sendUntilMs));
      for (let seq = acked[partition]!.length; seq < due; seq++) {
        const dueMs = intendedMs(schedule, partition, seq);
        const value = recordValue(catalogue, partition, seq, dueMs);
        store({ partition, seq, value }, (to, stored) =>
          events[to]!.push({ value: stored, atMs: nowMs, stampMs: dueMs }),
        );
        acked[partition]!.push(nowMs);
      }
    }
  };

  const job = { offsets: events.map(() => 0), state: new Map<string, WindowResult>(), ...noTime() };
  const runBatch = () => {
    const ends = events.map((list) => list.length);
    const changed = new Set<string>();
    let newestMs = 0;
    let inputRows = 0;
    ends.forEach((end, partition) => {
      for (let offset = job.offsets[partition]!; offset < end; offset++) {
        const { value } = events[partition]![offset]!;
        inputRows++;
        const record = parse(value);
        if (record === null) continue;
        newestMs = Math.max(newestMs, record.intendedMs);
        const startMs = record.intendedMs - (record.intendedMs % windowMs);
        // Spark judges lateness by the watermark of the batch before.
        if (startMs + windowMs <= job.lateMs) continue;
        const key = `${record.product}|${startMs}`;
        const times = simulation.times?.(partition, offset, value) ?? 1;
        if (times > 0) changed.add(key);
        for (let time = 0; time < times; time++) {
          const old = job.state.get(key);
          job.state.set(key, {
            ...{ windowMs: startMs, product: record.product, count: (old?.count ?? 0) + 1 },
            sum: (old?.sum ?? 0) + record.amount,
            crc: (old?.crc ?? 0) + crc32(value),
            newestMs: Math.max(old?.newestMs ?? 0, record.intendedMs),
          });
        }
      }
    });
    const writtenMs = nowMs + 100 + Math.floor(random() * 300);
    for (const key of changed) {
      emit(job.state.get(key)!, (result) => {
        const list = results[crc32(`${result.product}|${result.windowMs}`) % resultPartitions]!;
        list.push({ value: Buffer.from(JSON.stringify(result)), atMs: writtenMs, stampMs: writtenMs });
      });
    }
    commits.push({
      ...{ atMs: writtenMs + 50, batchId: job.batchId++, endOffsets: ends, inputRows },
      watermarkMs: job.watermarkMs,
    });
    for (const [key, { windowMs: startMs }] of job.state) {
      if (startMs + windowMs <= job.watermarkMs) job.state.delete(key);
    }
    job.offsets = ends;
    job.newestMs = Math.max(job.newestMs, newestMs);
    job.lateMs = job.watermarkMs;
    job.watermarkMs = Math.max(job.watermarkMs, job.newestMs - (simulation.watermarkMs ?? quarterMs));
    return writtenMs + 50;
  };

  let freeMs = nowMs;
  let restarts = restart ? 1 : 0;
  const endMs = sendUntilMs + drainMs;
  for (; nowMs <= endMs; nowMs += tickMs) {
    send();
    if (nowMs < freeMs || (nowMs - schedule.baseMs) % triggerMs !== 0) continue;
    if (restart && restarts > 0 && nowMs >= restart.atMs) {
      restarts = 0;
      freeMs = nowMs + restart.downMs;
      if (restart.state === 'lost') Object.assign(job, { state: new Map(), ...noTime() });
      if (restart.from === 'earliest') job.offsets = events.map(() => 0);
      continue;
    }
    if (restart?.from === 'latest' && restarts === 0) {
      restarts = -1;
      job.offsets = events.map((list) => list.length);
      continue;
    }
    if (job.offsets.some((offset, partition) => offset < events[partition]!.length)) freeMs = runBatch();
  }
  return { simulation, events, results, acked, commits, endMs };
}

function noTime() {
  return { batchId: 0, newestMs: 0, watermarkMs: 0, lateMs: 0 };
}

function parse(value: Buffer) {
  const [id, product, cents, quantity, timeMs] = value.toString().split(',');
  if (id === undefined || product === undefined || timeMs === undefined) return null;
  return { product, amount: Number(cents) * Number(quantity), intendedMs: Number(timeMs) };
}

/** Both topics by name and partition. */
const listsOf = ({ events, results }: SimulatedStream) => [
  ...events.map((stored, partition) => ({ topic: 'events', partition, stored })),
  ...results.map((stored, partition) => ({ topic: 'results', partition, stored })),
];

/** What a broker would tell and hand over at `nowMs` of a stream whose first records may have been removed. */
export function brokerAt(
  stream: SimulatedStream,
  nowMs: number,
  removed: Readonly<Record<string, number>> = {},
) {
  const lists = listsOf(stream).map((it) => ({
    ...it,
    begin: removed[`${it.topic} ${it.partition}`] ?? 0,
    end:
      it.stored.findIndex(({ atMs }) => atMs > nowMs) < 0
        ? it.stored.length
        : it.stored.findIndex(({ atMs }) => atMs > nowMs),
  }));
  return {
    ranges: () => lists.map(({ topic, partition, begin, end }) => ({ topic, partition, begin, end })),
    /** The next records of a partition; undefined when there are none. */
    read(topic: string, partition: number, offset: number, atMost: number) {
      const { stored, begin, end } = lists.find((it) => it.topic === topic && it.partition === partition)!;
      const from = Math.max(begin, offset);
      const slice = stored.slice(from, Math.min(end, from + atMost));
      if (slice.length === 0) return undefined;
      return {
        ...{ topic, partition, endOffset: end },
        records: slice.map(({ value, stampMs }, index) => ({ offset: from + index, value, stampMs })),
      };
    },
  };
}

/** Follows a stream as the observer does, a step every 250 ms, reading more or less late; the rows that it gives. */
export function observeStream(
  stream: SimulatedStream,
  { seed = 1, startMs = stream.simulation.schedule.baseMs }: { seed?: number; startMs?: number } = {},
): { readonly rows: readonly Sample[]; readonly observer: ObservedStream } {
  const random = seededRandom(seed);
  const { catalogue, schedule } = stream.simulation;
  const observer = new ObservedStream(startMs);
  const rows: Sample[] = [];
  for (let nowMs = startMs; nowMs <= stream.endMs + 5_000; nowMs += 250) {
    const ledgers = stream.acked.map((times) =>
      openLedger(times.filter((atMs) => atMs <= nowMs - 100).length),
    );
    const known = { schedule, catalogue, startedMs: schedule.baseMs, atMs: nowMs };
    observer.generatorAnswered({ frontier: describeFrontier(ledgers, known), seenMs: nowMs }, nowMs);
    if (nowMs % 500 === 0) observer.endsAsked(brokerAt(stream, nowMs).ranges(), nowMs);
    const commit = stream.commits.findLast(({ atMs }) => atMs <= nowMs);
    if (commit) {
      const progress = readProgress({
        ...{ applicationId: 'app', batchId: commit.batchId, committedAtMs: commit.atMs },
        endOffsets: Object.fromEntries(commit.endOffsets.map((end, partition) => [partition, end])),
        ...{ inputRows: commit.inputRows, durationsMs: { triggerExecution: 400, addBatch: 300 } },
        ...{ stateRows: 1, droppedByWatermark: 0, watermarkMs: commit.watermarkMs },
      });
      if (progress.batchId !== null) observer.jobAnswered(progress, nowMs);
    }
    const broker = brokerAt(stream, nowMs - Math.floor(random() * 400));
    const waiting = new Set(observer.ahead().map(({ topic, partition }) => `${topic} ${partition}`));
    for (const { topic, partition, offset } of observer.nextOffsets()) {
      if (waiting.has(`${topic} ${partition}`) || random() < 0.2) continue;
      const batch = broker.read(topic, partition, offset, 1_000);
      if (batch) observer.batchRead(batch, nowMs);
    }
    const row = observer.sample(nowMs);
    if (row) rows.push(row);
  }
  return { rows, observer };
}

/** The topics as they are when everything has ended, read in an order that the seed decides. */
export function sourceOf(
  stream: SimulatedStream,
  { seed = 1, removed = {} }: { seed?: number; removed?: Readonly<Record<string, number>> } = {},
): TopicSource & { readonly mostHeld: { records: number; early: number; times: number } } {
  const random = seededRandom(seed);
  const broker = brokerAt(stream, Number.POSITIVE_INFINITY, removed);
  let nowMs = stream.endMs;
  const mostHeld = { records: 0, early: 0, times: 0 };
  return {
    mostHeld,
    ranges: async () => broker.ranges(),
    now: () => nowMs++,
    wait: async (ms) => {
      nowMs += ms;
    },
    async readThrough(oracle: Oracle) {
      while (!oracle.hasReadAsked()) {
        const waiting = new Set(oracle.ahead().map(({ topic, partition }) => `${topic} ${partition}`));
        for (const { topic, partition, offset } of oracle.nextOffsets()) {
          if (waiting.has(`${topic} ${partition}`) || random() < 0.3) continue;
          const batch = broker.read(topic, partition, offset, 1 + Math.floor(random() * 500));
          if (batch) oracle.batchRead(batch, nowMs++);
        }
        const { records, early, times } = oracle.held();
        mostHeld.records = Math.max(mostHeld.records, records);
        mostHeld.early = Math.max(mostHeld.early, early);
        mostHeld.times = Math.max(mostHeld.times, times);
      }
    },
  };
}
