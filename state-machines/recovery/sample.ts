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
  /** What the system's own control planes say; null when they could not be asked. */
  readonly system: SystemView | null;
  readonly correctness: Correctness;
}

/** Redundancy as Spark reports it, with the instant of the answer. */
export interface SystemView {
  readonly atMs: number;
  readonly mastersAlive: number;
  readonly workersAlive: number;
  readonly executors: number;
  readonly cores: number;
}

/** Running totals of the observer's two checks; loss is never netted against duplicates. */
export interface Correctness {
  /** Ledger against the input topic. */
  readonly acknowledgedButAbsent: number;
  readonly storedTwice: number;
  /** Input topic against results: results whose count, sum, crc name no prefix of their window. */
  readonly wrong: number;
  /** A count that went down, or the same count with other sums. */
  readonly conflicting: number;
  /** Same content emitted again: benign. */
  readonly reemitted: number;
  /** Results for windows or products that the input never had. */
  readonly phantom: number;
  /** Windows whose newest result still lacks records, and how many records (final only after a drain). */
  readonly shortWindows: number;
  readonly shortRecords: number;
}
