import type { GeneratorFrontier } from '../records/frontier.ts';
import { indeterminateRecords, type Ledger } from '../records/ledger.ts';
import type { Catalogue } from '../records/record.ts';
import { dueCount, intendedMs, type Schedule } from '../records/schedule.ts';

/** How far the partitions are at `atMs`; the slowest one speaks for all. */
export function describeFrontier(
  ledgers: readonly Ledger[],
  {
    schedule,
    catalogue,
    startedMs,
    atMs,
  }: { schedule: Schedule; catalogue: Catalogue; startedMs: number; atMs: number },
): GeneratorFrontier {
  const sum = (of: (ledger: Ledger, partition: number) => number) =>
    ledgers.reduce((total, ledger, partition) => total + of(ledger, partition), 0);
  const oldest = (of: (ledger: Ledger) => number) =>
    Math.min(...ledgers.map((ledger, partition) => intendedMs(schedule, partition, of(ledger))));
  return {
    startedMs,
    atMs,
    ackedMs: oldest((ledger) => ledger.acked),
    intended: sum((_ledger, partition) => dueCount(schedule, partition, atMs)),
    acked: sum((ledger) => ledger.acked),
    indeterminate: sum(indeterminateRecords),
    unanswered: sum((ledger) => ledger.unansweredRecords),
    behindMs: Math.max(0, atMs - oldest(nextSeq)),
    schedule,
    catalogue: { seed: catalogue.seed, products: catalogue.products },
    perPartition: ledgers.map((ledger, partition) => ({
      partition,
      ackedSeq: ledger.acked - 1,
      nextSeq: nextSeq(ledger),
    })),
  };
}

/** The first record that was not yet handed to the broker. */
function nextSeq({ acked, underWay }: Ledger): number {
  return underWay?.to ?? acked;
}
