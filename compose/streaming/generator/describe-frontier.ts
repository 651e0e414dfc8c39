import { type GeneratorFrontier, type GeneratorShare, partitionsOf } from '../records/frontier.ts';
import { indeterminateRecords, type Ledger } from '../records/ledger.ts';
import type { Catalogue } from '../records/record.ts';
import { dueCount, intendedMs, type Schedule } from '../records/schedule.ts';

export interface FrontierView {
  readonly schedule: Schedule;
  readonly catalogue: Catalogue;
  readonly startedMs: number;
  readonly atMs: number;
  /** Absent: the ledgers are of all partitions. */
  readonly share?: GeneratorShare;
}

/** How far the partitions are at `atMs`, each with its ledger, in order; the slowest one speaks for all. */
export function describeFrontier(
  ledgers: readonly Ledger[],
  { schedule, catalogue, startedMs, atMs, share = { index: 0, count: 1 } }: FrontierView,
): GeneratorFrontier {
  const own = partitionsOf(share, schedule.partitions).map((partition, at) => {
    return { partition, ledger: ledgers[at]! };
  });
  const sum = (of: (ledger: Ledger) => number) => ledgers.reduce((total, ledger) => total + of(ledger), 0);
  const oldest = (of: (ledger: Ledger) => number) =>
    Math.min(...own.map(({ partition, ledger }) => intendedMs(schedule, partition, of(ledger))));
  const { partitions: _, ...rest } = catalogue;
  return {
    ...{ startedMs, atMs, share, schedule, catalogue: rest },
    ackedMs: oldest((ledger) => ledger.acked),
    intended: own.reduce((total, { partition }) => total + dueCount(schedule, partition, atMs), 0),
    acked: sum((ledger) => ledger.acked),
    indeterminate: sum(indeterminateRecords),
    unanswered: sum((ledger) => ledger.unansweredRecords),
    behindMs: Math.max(0, atMs - oldest(nextSeq)),
    perPartition: own.map(({ partition, ledger }) => ({
      partition,
      ackedSeq: ledger.acked - 1,
      nextSeq: nextSeq(ledger),
      failed: ledger.failed,
      unanswered: ledger.unanswered,
      absent: ledger.absent,
    })),
  };
}

/** The first record that was not yet handed to the broker. */
function nextSeq({ acked, underWay }: Ledger): number {
  return underWay?.to ?? acked;
}
