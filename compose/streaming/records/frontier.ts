import type { SeqRange } from './ledger.ts';
import type { Catalogue } from './record.ts';
import type { Schedule } from './schedule.ts';

/** One of several generators: it has the partitions whose number leaves `index` when divided by `count`. */
export interface GeneratorShare {
  readonly index: number;
  readonly count: number;
}

/** The generator's answer to `GET /frontier`: how far it is, and the schedule by which every record's time is known. */
export interface GeneratorFrontier {
  /** When this process started; epoch ms, generator's clock. */
  readonly startedMs: number;
  /** Epoch ms of this answer, generator's clock. */
  readonly atMs: number;
  /** Absent: it has all partitions. */
  readonly share?: GeneratorShare;
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
  readonly catalogue: Omit<Catalogue, 'partitions'>;
  /** Of its own partitions, each once. */
  readonly perPartition: readonly PartitionFrontier[];
}

/**
 * `ackedSeq` is the newest acknowledged record (-1: none), `nextSeq` the first that was not yet sent. The ranges are
 * the ledger's: `failed` and `unanswered` attempts, and `absent` records, which were acknowledged and are lost.
 */
export interface PartitionFrontier {
  readonly partition: number;
  readonly ackedSeq: number;
  readonly nextSeq: number;
  readonly failed?: readonly SeqRange[];
  readonly unanswered?: readonly SeqRange[];
  readonly absent?: readonly SeqRange[];
}

/** The partitions of a share, of so many. */
export function partitionsOf({ index, count }: GeneratorShare, partitions: number): readonly number[] {
  return Array.from({ length: partitions }, (_, partition) => partition).filter(
    (partition) => partition % count === index,
  );
}

/**
 * What several generators say, as if one had said it; null while partitions are missing. The answer is as old as the
 * oldest one, the start is the newest one, and each partition keeps the schedule of its own generator.
 */
export function joinFrontiers(frontiers: readonly GeneratorFrontier[]): GeneratorFrontier | null {
  const [first, ...others] = frontiers;
  if (first === undefined) return null;
  const owners = new Map(
    frontiers.flatMap((one) => one.perPartition.map(({ partition }) => [partition, one] as const)),
  );
  if (owners.size < first.schedule.partitions) return null;
  if (others.length === 0) return first;
  const sum = (of: (one: GeneratorFrontier) => number) =>
    frontiers.reduce((total, one) => total + of(one), 0);
  const anchors = Array.from({ length: first.schedule.partitions }, (_, partition) => {
    const { baseMs, baseTurn = 0 } = owners.get(partition)!.schedule;
    return { baseMs, baseTurn };
  });
  return {
    startedMs: Math.max(...frontiers.map(({ startedMs }) => startedMs)),
    atMs: Math.min(...frontiers.map(({ atMs }) => atMs)),
    ackedMs: Math.min(...frontiers.map(({ ackedMs }) => ackedMs)),
    intended: sum(({ intended }) => intended),
    acked: sum(({ acked }) => acked),
    indeterminate: sum(({ indeterminate }) => indeterminate),
    unanswered: sum(({ unanswered }) => unanswered),
    behindMs: Math.max(...frontiers.map(({ behindMs }) => behindMs)),
    schedule: { ...first.schedule, anchors },
    catalogue: first.catalogue,
    perPartition: frontiers
      .flatMap(({ perPartition }) => perPartition)
      .sort((a, b) => a.partition - b.partition),
  };
}
