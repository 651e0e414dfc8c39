import { isDeepStrictEqual } from 'node:util';
import { type Ledger, openLedger, reopenLedger } from '../records/ledger.ts';
import type { Catalogue } from '../records/record.ts';
import { beginSchedule, type PartitionEnd, resumeSchedule, type Schedule } from '../records/schedule.ts';
import type { KeptLedger } from './ledger-file.ts';

/** What a starting generator finds. */
export interface Found {
  /** Null where none was kept, or where it is of another topic. */
  readonly kept: KeptLedger | null;
  readonly ends: readonly PartitionEnd[];
  /** Partitions whose records have all expired: nobody can tell any more which one was the newest. */
  readonly expired: readonly number[];
}

export interface ResumePlan {
  readonly catalogue: Catalogue;
  readonly rate: Schedule['rate'];
  readonly own: readonly number[];
  readonly nowMs: number;
}

export interface Resumed {
  readonly schedule: Schedule;
  /** Of the own partitions, in their order. */
  readonly ledgers: readonly Ledger[];
  /** True where a kept ledger tells more than the topic. */
  readonly fromLedger: boolean;
}

/**
 * Where to go on. The topic decides which records are stored; the ledger which ones had been acknowledged before, and,
 * while the rate is the same, the schedule: what was missed is sent late, with its old stamps. Without a ledger the
 * topic alone has to do, and what the broker has lost at its end cannot be seen.
 */
export function resume({ kept, ends, expired }: Found, plan: ResumePlan): Resumed {
  const { catalogue, rate, own, nowMs } = plan;
  const ours = kept !== null && isDeepStrictEqual(kept.catalogue, catalogue) ? kept : null;
  const before = new Map(ours?.partitions.map(({ partition, ledger }) => [partition, ledger]));
  const stored = new Map(ends.map(({ partition, seq }) => [partition, seq + 1]));
  const ledgers = own.map((partition) => {
    const known = before.get(partition);
    if (known === undefined) return openLedger(stored.get(partition) ?? 0);
    return reopenLedger(known, expired.includes(partition) ? known.acked : (stored.get(partition) ?? 0));
  });
  const schedulePlan = { rate, partitions: catalogue.partitions, own, nowMs };
  if (ours === null) return { schedule: resumeSchedule(ends, schedulePlan), ledgers, fromLedger: false };
  const nextSeqs = new Map(own.map((partition, at) => [partition, ledgers[at]!.acked]));
  const sameRate = isDeepStrictEqual(ours.schedule.rate, rate);
  return {
    schedule: sameRate ? ours.schedule : beginSchedule(nextSeqs, schedulePlan),
    ...{ ledgers, fromLedger: true },
  };
}
