import type { ControlPlane, ControlPlaneView } from './control-planes.ts';

/**
 * One row of the observer's stream, every 250 ms. A frontier is the *intended* time (epoch ms, generator's clock) of
 * the oldest record that has not got there yet, in the slowest partition: age = atMs - frontier. When nothing is
 * outstanding it is the intended time of the next record that is due.
 */
export interface Sample {
  /** Epoch ms of this row, observer's clock. */
  readonly atMs: number;
  /** First record not yet acknowledged by Kafka. */
  readonly ackedMs: number;
  /** First record beyond the job's last committed batch; null until a batch was committed. */
  readonly committedMs: number | null;
  /** First record not yet counted in its (window, product) result; null until a result was seen. */
  readonly visibleMs: number | null;
  /** Records: intended by the schedule, acknowledged; cumulative. */
  readonly intended: number;
  readonly acked: number;
  /** How far the generator's sending is behind its own schedule. */
  readonly generatorBehindMs: number;
  /** Id and commit time of the job's newest finished micro-batch (null before the first). */
  readonly batchId: number | null;
  readonly batchAtMs: number | null;
  /** What that batch says of itself; null before the first. */
  readonly batch: BatchProgress | null;
  /** The newest answers of the system's own control planes; who cannot be asked has none. */
  readonly views: readonly ControlPlaneView[];
  readonly correctness: Correctness;
  readonly sources: Sources;
}

/** The job's newest finished micro-batch; rows are those of this batch alone. */
export interface BatchProgress {
  /** From its trigger to its commit, and the part of it that ran the query. */
  readonly durationMs: number;
  readonly addBatchMs: number;
  readonly inputRows: number;
  /** Rows that the query's state holds after it. */
  readonly stateRows: number;
  /** Rows, counted by Spark after it has aggregated within partitions, that came behind the watermark. */
  readonly droppedRows: number;
  /** Windows that end by then were closed in it, epoch ms; null when the job does not say. */
  readonly watermarkMs: number | null;
}

/** Who speaks in a row, and since when: none of it may change while a trial is watched. */
export interface Sources {
  /** When these processes started, each by its own clock; a process that was started anew has lost what it knew. */
  readonly observerStartedMs: number;
  readonly generatorStartedMs: number;
  /** When the generator answered last, observer's clock. */
  readonly generatorSeenMs: number;
  /**
   * Intended time from which on the totals of `correctness` count, in whole windows: they are made from the topics, so a
   * new observer finds the same ones, unless older records were removed meanwhile; but the watermarks of batches before
   * its start it does not know, so what was `lateDropped` then is short or missing now. Null before the first record.
   */
  readonly countedSinceMs: number | null;
}

/**
 * Running totals of the observer's two checks; loss is never netted against duplicates. Windows are windows of one
 * product, and are counted once per class.
 */
export interface Correctness {
  /** Ledger against the input topic: records that the topic does not hold in their partition. */
  readonly acknowledgedButAbsent: number;
  readonly storedTwice: number;
  /** Stored, but behind a later record of the partition. */
  readonly outOfOrder: number;
  /** Stored, but not as sent; a record whose number is altered, too, is absent as well. */
  readonly altered: number;
  /** Stored in another partition than its own, where it is absent. */
  readonly misplaced: number;
  /** Input topic against results: windows that had a result which no prefix of their records gives. */
  readonly wrong: number;
  /** Windows that had a result with more records than the input, and how many more. */
  readonly longWindows: number;
  readonly longRecords: number;
  /** Windows whose newest result lacks records that are known to be committed, or skipped, and how many records. */
  readonly shortWindows: number;
  readonly shortRecords: number;
  /** The same for windows that have no result at all. */
  readonly missingWindows: number;
  readonly missingRecords: number;
  /** Records that are not counted because they came behind the job's watermark; in no other class. */
  readonly lateDropped: number;
  /** Results whose count went down, as long as the job has not replayed it to where it was, or the same count with other sums. */
  readonly conflicting: number;
  /** Results with the same content emitted again: benign. */
  readonly reemitted: number;
  /** Results for windows or products that the input never had, or that are no results. */
  readonly phantom: number;
  /** Results for windows of which records or results are no longer known. */
  readonly unjudged: number;
}

/** Nothing found. */
export const noFindings: Correctness = {
  ...{ acknowledgedButAbsent: 0, storedTwice: 0, outOfOrder: 0, altered: 0, misplaced: 0 },
  ...{ wrong: 0, longWindows: 0, longRecords: 0, shortWindows: 0, shortRecords: 0 },
  ...{ missingWindows: 0, missingRecords: 0, lateDropped: 0 },
  ...{ conflicting: 0, reemitted: 0, phantom: 0, unjudged: 0 },
};

/** All classes, in the order in which they are told. */
export const findingClasses = Object.keys(noFindings) as readonly (keyof Correctness)[];
/** The same content once more, and results too old to be judged: nothing bad. */
const harmless: readonly (keyof Correctness)[] = ['reemitted', 'unjudged'];
/** Those that no trial may add to: who judges, tells, draws or alerts takes them from here, so that none is forgotten. */
export const errorClasses = findingClasses.filter((name) => !harmless.includes(name));

/** Classes of records, by the label under which metrics show their totals. */
export const recordClasses = {
  lost: 'acknowledgedButAbsent',
  duplicated: 'storedTwice',
  out_of_order: 'outOfOrder',
  altered: 'altered',
  misplaced: 'misplaced',
  late: 'lateDropped',
} as const satisfies Record<string, keyof Correctness>;
/** The same, of windows and results. */
export const windowClasses = {
  wrong: 'wrong',
  long: 'longWindows',
  short: 'shortWindows',
  missing: 'missingWindows',
  conflicting: 'conflicting',
  reemitted: 'reemitted',
  phantom: 'phantom',
  unjudged: 'unjudged',
} as const satisfies Record<string, keyof Correctness>;

/** What a row tells of one control plane; undefined when it did not answer. */
export function viewOf(row: Sample, source: ControlPlane): ControlPlaneView | undefined {
  return row.views.find((view) => view.source === source);
}
