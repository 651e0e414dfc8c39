import type { StoredRecord } from '../records/record.ts';
import { addRecord, noRecords, type WindowResult, type WindowTotals } from '../records/window.ts';

/**
 * One product in one window: what the input topic holds of it, in offset order, and how far results have confirmed
 * it. Since each product has one partition, a result's count names exactly the first so many of these records.
 * The lists hold running totals, one number per record and list: a stall of minutes must fit in memory.
 */
export interface WindowCell {
  readonly product: string;
  readonly windowMs: number;
  readonly partition: number;
  /** Totals of the records already forgotten: they were counted long ago. */
  base: WindowTotals;
  readonly sums: number[];
  readonly crcs: number[];
  /** Newest intended time up to each record. */
  readonly newestMs: number[];
  readonly offsets: number[];
  /** The longest prefix that a result has confirmed: what a reader of the results can see. */
  visible: number;
  /** The newest result's count, and how many results have fallen below `visible` since it was reached. */
  lastCount: number;
  fallen: number;
}

/** How a result compares with the input; `early`: it names records that have not been read yet. */
export type ResultClass =
  | 'advanced'
  | 'reemitted'
  | 'fallen'
  | 'replayed'
  | 'conflicting'
  | 'wrong'
  | 'early';

/** A cell without records. */
export function emptyCell(product: string, windowMs: number, partition: number): WindowCell {
  const lists = { sums: [], crcs: [], newestMs: [], offsets: [] };
  return { product, windowMs, partition, base: noRecords, ...lists, visible: 0, lastCount: 0, fallen: 0 };
}

/** Appends the next record of the input topic. */
export function storeRecord(cell: WindowCell, record: StoredRecord, offset: number): void {
  const { sum, crc, newestMs } = addRecord(storedTotals(cell), record);
  cell.sums.push(sum);
  cell.crcs.push(crc);
  cell.newestMs.push(newestMs);
  cell.offsets.push(offset);
}

/** Totals of all records that the input topic holds. */
function storedTotals(cell: WindowCell): WindowTotals {
  return totalsOf(cell, cell.base.count + cell.offsets.length)!;
}

/** Totals of the first `count` records; undefined when they were forgotten or are not there. */
function totalsOf(cell: WindowCell, count: number): WindowTotals | undefined {
  const index = count - cell.base.count - 1;
  if (index === -1) return cell.base;
  const [sum, crc, newestMs] = [cell.sums[index], cell.crcs[index], cell.newestMs[index]];
  if (sum === undefined || crc === undefined || newestMs === undefined) return undefined;
  return { count, sum, crc, newestMs };
}

/** Judges a result and moves the cell on when it confirms a prefix. */
export function judgeResult(cell: WindowCell, result: WindowResult): ResultClass {
  if (result.count > cell.base.count + cell.offsets.length) return 'early';
  if (!isPrefix(cell, result)) return result.count === cell.lastCount ? 'conflicting' : 'wrong';
  const before = cell.visible;
  cell.lastCount = result.count;
  if (result.count < before) {
    cell.fallen++;
    return 'fallen';
  }
  cell.visible = result.count;
  if (cell.fallen > 0) return 'replayed';
  return result.count === before ? 'reemitted' : 'advanced';
}

/** Of the forgotten prefixes only the longest can be compared; shorter ones were confirmed in their time. */
function isPrefix(cell: WindowCell, result: WindowResult): boolean {
  if (result.count <= 0) return false;
  if (result.count < cell.base.count) return true;
  const known = totalsOf(cell, result.count);
  return known?.sum === result.sum && known.crc === result.crc && known.newestMs === result.newestMs;
}

/** Forgets the records of a cell that is complete; only its totals can be asked for again. */
export function forgetCounted(cell: WindowCell): void {
  const all = storedTotals(cell);
  if (cell.visible < all.count) return;
  cell.base = all;
  for (const list of [cell.sums, cell.crcs, cell.newestMs, cell.offsets]) list.length = 0;
}

/** Intended time of the first record that no result counts; null when there is none. */
export function firstUncountedMs(cell: WindowCell): number | null {
  return cell.newestMs[cell.visible - cell.base.count] ?? null;
}

/** How many uncounted records lie before `offset` of the cell's partition. */
export function uncountedBefore(cell: WindowCell, offset: number): number {
  const first = cell.visible - cell.base.count;
  let index = first;
  while (index < cell.offsets.length && cell.offsets[index]! < offset) index++;
  return index - first;
}
