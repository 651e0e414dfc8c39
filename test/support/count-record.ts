import type { StoredRecord } from '../../compose/streaming/records/record.ts';
import {
  cellKey,
  noRecords,
  type WindowResult,
  windowStartMs,
} from '../../compose/streaming/records/window.ts';

/** Counts one more record as a correct job does, into the results so far, by key; tells which one it was. */
export function countRecord(results: Map<string, WindowResult>, record: StoredRecord): string {
  const { product, intendedMs } = record;
  const windowMs = windowStartMs(intendedMs);
  const key = cellKey(product, windowMs);
  const { count, sum, crc, newestMs } = results.get(key) ?? noRecords;
  results.set(key, {
    ...{ windowMs, product, count: count + 1, sum: sum + record.cents * record.quantity },
    ...{ crc: crc + record.crc, newestMs: Math.max(newestMs, intendedMs) },
  });
  return key;
}
