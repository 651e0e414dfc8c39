import type { Schedule } from './schedule.ts';

/** The generator's answer to `GET /frontier`: how far it is, and the schedule by which every record's time is known. */
export interface GeneratorFrontier {
  /** When this process started; epoch ms, generator's clock. */
  readonly startedMs: number;
  /** Epoch ms of this answer, generator's clock. */
  readonly atMs: number;
  /** Intended time of the first record not yet acknowledged, in the slowest partition. */
  readonly ackedMs: number;
  /** Records due by now, and records acknowledged; cumulative over restarts. */
  readonly intended: number;
  readonly acked: number;
  /** Records whose last attempt got no answer: stored or not, nobody knows now; and how often that happened so far. */
  readonly indeterminate: number;
  readonly unanswered: number;
  readonly behindMs: number;
  readonly schedule: Schedule;
  readonly catalogue: { readonly seed: number; readonly products: number };
  readonly perPartition: readonly PartitionFrontier[];
}

/** `ackedSeq` is the newest acknowledged record (-1: none), `nextSeq` the first that was not yet sent. */
interface PartitionFrontier {
  readonly partition: number;
  readonly ackedSeq: number;
  readonly nextSeq: number;
}
