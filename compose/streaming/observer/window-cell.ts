import { noRecords, type WindowResult, type WindowTotals } from '../records/window.ts';

/** Of each record: amount, CRC, time within its window, offset counted from the cell's first one. */
const stride = 4;

/**
 * One product in one window: what the input topic holds of it, in offset order, and how far results have confirmed
 * it. Since each product has one partition, a result's count names exactly the first so many of these records.
 * Sixteen bytes per record, and only until they are counted: a stall of minutes must fit in memory.
 */
export interface WindowCell {
  readonly windowMs: number;
  /** Where its first record lay. */
  readonly partition: number;
  readonly firstOffset: number;
  lastOffset: number;
  /** Holds records of another partition, too: then no count names a prefix, and only the whole can be compared. */
  mixed: boolean;
  /** Totals of the records already forgotten: they were counted long ago, or given up. */
  base: WindowTotals;
  entries: Uint32Array;
  /** Records in `entries`. */
  length: number;
  newestMs: number;
  /** The longest prefix that a result has confirmed: what a reader of the results can see. */
  visible: WindowTotals;
  /** The newest result's count (0: none yet), and the number of records up to the newest one that it speaks of. */
  claimed: number;
  reached: number;
  /** What the newest results have more, or less, than the records up to there; and how many of these are missing. */
  deviation: WindowTotals;
  lost: number;
  /** The largest count so far, the deviation that it had, and how many results have fallen below it since. */
  peak: number;
  peakDeviation: WindowTotals;
  fallen: number;
  /** A result had content that no records explain; the most records that a result had too many. */
  wrong: boolean;
  excess: number;
  /** Records that came behind the watermark. */
  late: number;
}

/** How a result compares with the input; `early`: it may speak of records that have not been read yet. */
export type ResultClass =
  | 'advanced'
  | 'reemitted'
  | 'fallen'
  | 'replayed'
  | 'conflicting'
  | 'wrong'
  | 'early';

const noEntries = new Uint32Array(0);

/** A cell without records; its first one will be at this offset. */
export function emptyCell(windowMs: number, partition: number, firstOffset: number): WindowCell {
  return {
    ...{ windowMs, partition, firstOffset, lastOffset: firstOffset, mixed: false },
    ...{ base: noRecords, entries: noEntries, length: 0, newestMs: 0, visible: noRecords },
    ...{ claimed: 0, reached: 0, deviation: noRecords, lost: 0 },
    ...{ peak: 0, peakDeviation: noRecords, fallen: 0, wrong: false, excess: 0, late: 0 },
  };
}

/** What a cell keeps of a record. The amount is below 2^32. */
interface CellRecord {
  readonly amount: number;
  readonly crc: number;
  readonly intendedMs: number;
}

/** Appends the next record of the input topic; one of another partition takes its neighbour's offset. */
export function storeRecord(cell: WindowCell, { amount, crc, intendedMs }: CellRecord, offset: number): void {
  const at = cell.length * stride;
  if (at === cell.entries.length) cell.entries = grown(cell.entries);
  const { entries } = cell;
  entries[at] = amount;
  entries[at + 1] = crc;
  entries[at + 2] = intendedMs - cell.windowMs;
  entries[at + 3] = offset - cell.firstOffset;
  cell.length++;
  cell.lastOffset = offset;
  if (intendedMs > cell.newestMs) cell.newestMs = intendedMs;
}

function grown(entries: Uint32Array): Uint32Array {
  const larger = new Uint32Array(Math.max(8 * stride, entries.length * 2));
  larger.set(entries);
  return larger;
}

/** Records that the input topic holds. */
export function storedCount({ base, length }: WindowCell): number {
  return base.count + length;
}

/** Totals of the first `count` records, of which none was forgotten: `count` is at least the base's. */
function totalsAt(cell: WindowCell, count: number): WindowTotals {
  const { base, visible, entries, windowMs } = cell;
  // A longer prefix is confirmed again and again: go on from there.
  let { count: from, sum, crc, newestMs } = visible.count <= count ? visible : base;
  for (let at = (from - base.count) * stride; from < count; from++, at += stride) {
    sum += entries[at]!;
    crc += entries[at + 1]!;
    newestMs = Math.max(newestMs, windowMs + entries[at + 2]!);
  }
  return { count, sum, crc, newestMs };
}

/**
 * Judges a result and moves the cell on. `settled`: everything that was stored when the result appeared has been read,
 * so nothing can be early any more. A cell without records judges nothing.
 */
export function judgeResult(cell: WindowCell, result: WindowResult, settled: boolean): ResultClass {
  if (!(result.count > 0)) return accuse(cell, result);
  if (isPrefix(cell, result)) return moveOn(cell, result, noRecords);
  const reached = result.count - cell.deviation.count;
  if (cell.deviation !== noRecords && reached >= cell.base.count && reached <= storedCount(cell)) {
    if (isSame(result, plus(totalsAt(cell, reached), cell.deviation))) {
      return moveOn(cell, result, cell.deviation);
    }
  }
  // What was not read yet may explain it.
  if (!settled) return 'early';
  if (result.count === cell.claimed) return 'conflicting';
  return explain(cell, result) ? moveOn(cell, result, cell.deviation) : accuse(cell, result);
}

/** Of the forgotten prefixes only the longest can be compared; shorter ones were confirmed in their time. */
function isPrefix(cell: WindowCell, result: WindowResult): boolean {
  const stored = storedCount(cell);
  if (result.count > stored) return false;
  if (result.count < cell.base.count || (cell.mixed && result.count < stored)) return true;
  return isSame(result, totalsAt(cell, result.count));
}

function isSame(a: WindowTotals, b: WindowTotals): boolean {
  return a.count === b.count && a.sum === b.sum && a.crc === b.crc && a.newestMs === b.newestMs;
}

/** The sum of both; the newest time is that of `totals`. */
function plus(totals: WindowTotals, more: WindowTotals, times = 1): WindowTotals {
  return {
    count: totals.count + times * more.count,
    sum: totals.sum + times * more.sum,
    crc: totals.crc + times * more.crc,
    newestMs: totals.newestMs,
  };
}

/** The result stands for the records up to `count - deviation.count`, but for that deviation. */
function moveOn(cell: WindowCell, result: WindowResult, deviation: WindowTotals): ResultClass {
  if (deviation === noRecords) cell.lost = 0;
  cell.deviation = deviation;
  cell.claimed = result.count;
  cell.reached = result.count - deviation.count;
  if (cell.lost === 0 && cell.reached > cell.visible.count) cell.visible = totalsAt(cell, cell.reached);
  if (result.count < cell.peak) {
    cell.fallen++;
    return 'fallen';
  }
  const again = result.count === cell.peak && deviation === cell.peakDeviation;
  const replayed = cell.fallen > 0 && deviation === cell.peakDeviation;
  cell.peak = result.count;
  cell.peakDeviation = deviation;
  if (replayed) return 'replayed';
  cell.fallen = 0;
  return again ? 'reemitted' : 'advanced';
}

/**
 * Looks for one run of records by which the result differs from what it should be: left out, or counted twice. The
 * newest time in a result tells up to which record it speaks; records with the same time leave a choice.
 */
function explain(cell: WindowCell, result: WindowResult): boolean {
  const { from, to } = upTo(cell, result.newestMs);
  for (const known of cell.deviation === noRecords ? [noRecords] : [cell.deviation, noRecords]) {
    for (let reached = to; reached >= from; reached--) {
      const difference = plus(plus(result, totalsAt(cell, reached), -1), known, -1);
      const sign = Math.sign(difference.count);
      const run = plus(noRecords, difference, sign);
      const at = sign === 0 ? -1 : findRun(cell, reached - cell.base.count, run);
      if (at < 0) continue;
      if (known === noRecords) cell.lost = 0;
      if (sign < 0) {
        cell.lost += run.count;
        const before = cell.base.count + at;
        if (before > cell.visible.count) cell.visible = totalsAt(cell, before);
      }
      cell.deviation = plus(known, difference);
      cell.excess = Math.max(cell.excess, cell.deviation.count + cell.lost);
      return true;
    }
  }
  return false;
}

/** The numbers of records, none forgotten, up to which a result with this newest time can speak; none when no record has it. */
function upTo(cell: WindowCell, newestMs: number): { readonly from: number; readonly to: number } {
  let [from, to] = [0, -1];
  for (let index = 0; index < cell.length; index++) {
    if (cell.windowMs + cell.entries[index * stride + 2]! !== newestMs) continue;
    if (to < 0) from = index + 1;
    to = index + 1;
  }
  return { from: cell.base.count + from, to: cell.base.count + to };
}

/** Where the first `length` records hold a run with these totals; -1 when nowhere. */
function findRun({ entries }: WindowCell, length: number, { count, sum, crc }: WindowTotals): number {
  let runSum = 0;
  let runCrc = 0;
  for (let index = 0; index < length; index++) {
    const at = index * stride;
    runSum += entries[at]!;
    runCrc += entries[at + 1]!;
    if (index >= count) {
      runSum -= entries[at - count * stride]!;
      runCrc -= entries[at - count * stride + 1]!;
    }
    if (index >= count - 1 && runSum === sum && runCrc === crc) return index - count + 1;
  }
  return -1;
}

/** Nothing explains the result: it counts more records than there are, or it is wrong. */
function accuse(cell: WindowCell, { count }: WindowResult): ResultClass {
  const stored = storedCount(cell);
  cell.claimed = count;
  cell.reached = Math.min(Math.max(0, count), stored);
  if (count > stored) {
    cell.excess = Math.max(cell.excess, count - stored);
    return 'advanced';
  }
  cell.wrong = true;
  return 'wrong';
}

/** Nothing is outstanding: the newest result counts all records, and so did a right one. */
export function isComplete(cell: WindowCell): boolean {
  const stored = storedCount(cell);
  return cell.visible.count === stored && cell.reached === stored && cell.lost === 0;
}

/** Forgets the records of a cell; only its totals can be asked for again. */
export function forgetRecords(cell: WindowCell): void {
  cell.base = totalsAt(cell, storedCount(cell));
  cell.visible = cell.base;
  cell.entries = noEntries;
  cell.length = 0;
}

/** Intended time of the first record that no result counts; null when there is none. */
export function firstUncountedMs({ visible, base, length, windowMs, entries }: WindowCell): number | null {
  const index = visible.count - base.count;
  return index < length ? windowMs + entries[index * stride + 2]! : null;
}

/** The offset behind the last record that the newest result speaks of; 0 when it is not known any more. */
export function reachedOffset({ reached, base, length, firstOffset, entries }: WindowCell): number {
  const index = reached - base.count - 1;
  return index >= 0 && index < length ? firstOffset + entries[index * stride + 3]! + 1 : 0;
}

/** Records before `offset` of the cell's partition; of forgotten ones all or none. */
export function storedBefore(cell: WindowCell, offset: number): number {
  if (cell.lastOffset < offset) return storedCount(cell);
  let [low, high] = [0, cell.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cell.firstOffset + cell.entries[middle * stride + 3]! < offset) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? 0 : cell.base.count + low;
}

/** Records before `offset` that the newest result lacks, without those that came behind the watermark. */
export function lackingBefore(cell: WindowCell, offset: number): number {
  return Math.max(0, storedBefore(cell, offset) - cell.reached - cell.late) + cell.lost;
}
