import type { Correctness } from '../../../state-machines/recovery/sample.ts';
import type { RecordReader } from '../records/record.ts';
import { cellKey, type WindowResult, windowMs, windowStartMs } from '../records/window.ts';
import { type Product, ProductTable } from './product-table.ts';
import {
  emptyCell,
  firstUncountedMs,
  forgetRecords,
  isComplete,
  judgeResult,
  lackingBefore,
  type ResultClass,
  reachedOffset,
  storedBefore,
  storeRecord,
  type WindowCell,
} from './window-cell.ts';

interface EarlyResult {
  readonly result: WindowResult;
  readonly seen: Seen;
}

/** When a result was read, and when the topic stamped it; epoch ms. */
export interface Seen {
  readonly atMs: number;
  readonly stampMs: number;
}

/** The windows of one start: a cell for each product, by its number. */
interface Window {
  readonly startMs: number;
  readonly cells: (WindowCell | undefined)[];
}

const never: Seen = { atMs: Number.NEGATIVE_INFINITY, stampMs: Number.NEGATIVE_INFINITY };

/** What a batch of the job has committed. */
export interface Commit {
  /** By partition: the first offset that is not in it. */
  readonly endOffsets: ReadonlyMap<number, number>;
  /** Windows that end by then took no more records in this batch; null when the job does not say. */
  readonly watermarkMs: number | null;
}

/** Counted windows are kept in full for so long behind the newest result, but not for more records than that: replays come within a batch or two. */
const rememberMs = 120_000;
const rememberRecords = 4_000_000;
/** And totals of windows for so long behind the newest record; older results are not judged. */
export const keepMs = 2 * 3_600_000;

/** Classes of the second check; the first one is InputLog's. */
export type ResultTotals = Pick<
  Correctness,
  | 'wrong'
  | 'conflicting'
  | 'reemitted'
  | 'phantom'
  | 'unjudged'
  | 'longWindows'
  | 'longRecords'
  | 'shortWindows'
  | 'shortRecords'
  | 'missingWindows'
  | 'missingRecords'
  | 'lateDropped'
>;

/**
 * Compares the results with the input topic *as stored*: every count must name a prefix, in offset order, of its
 * window's records, with exactly their sums. Memory is bounded by what no result counts, and otherwise by two hours of
 * totals; a record that is lost for good is held until the watermark passes its window, or for those two hours.
 */
export class ResultsCheck {
  private readonly products = new ProductTable();
  private readonly windows = new Map<number, Window>();
  private readonly open = new Set<Window>();
  private current: Window | undefined;
  /** Results that wait for their records, in the order in which they came. */
  private readonly early = new Map<string, EarlyResult[]>();
  private readonly totals = {
    ...{ wrong: 0, conflicting: 0, reemitted: 0, phantom: 0, unjudged: 0, longWindows: 0, longRecords: 0 },
    ...{ shortWindows: 0, shortRecords: 0, missingWindows: 0, missingRecords: 0, lateDropped: 0 },
  };
  private newestWindowMs = Number.NEGATIVE_INFINITY;
  private newestResultMs = Number.NEGATIVE_INFINITY;
  private sinceMs = Number.NEGATIVE_INFINITY;
  /** Records below these offsets are in committed batches whose results have been read. */
  private committed: ReadonlyMap<number, number> = new Map();
  /** By partition: the offset behind the last record that a result counts. */
  private readonly countedEnds = new Map<number, number>();
  private seen = 0;
  /** Records in all cells. */
  private records = 0;

  /** The input topic's next record of a partition, the one that was read last from `value`; tells which product it is. */
  addRecord(record: RecordReader, value: Buffer, partition: number, offset: number): Product {
    const { intendedMs, crc, cents, quantity } = record;
    const product = this.products.ofRecord(record, value);
    const startMs = windowStartMs(intendedMs);
    if (startMs > product.newestMs) product.newestMs = startMs;
    if (startMs < this.sinceMs) return product;
    const { cells } = this.current?.startMs === startMs ? this.current : this.enter(startMs);
    let cell = cells[product.id];
    if (cell === undefined) {
      cell = emptyCell(startMs, partition, offset);
      cells[product.id] = cell;
    }
    this.records++;
    cell.mixed ||= cell.partition !== partition;
    storeRecord(
      cell,
      { amount: cents * quantity, crc, intendedMs },
      cell.partition === partition ? offset : cell.lastOffset,
    );
    return product;
  }

  /** A result, in the order of the output topic. It may be ahead of what was read of the input. */
  addResult(result: WindowResult, seen: Seen): void {
    this.seen++;
    const key = cellKey(result.product, result.windowMs);
    const waiting = this.early.get(key) ?? [];
    waiting.push({ result, seen });
    this.judgeInOrder(key, waiting, never);
  }

  /**
   * Judges again what came early. All records have been read that a result which was seen before `inputRead.atMs`, or
   * stamped before `inputRead.stampMs`, can speak of: if it still names others it counts what never was.
   */
  settle(inputRead: Seen): void {
    for (const [key, waiting] of this.early) this.judgeInOrder(key, waiting, inputRead);
  }

  /** A batch was committed, and all its results have been read: what it should have counted and did not is missing. */
  commit({ endOffsets, watermarkMs }: Commit): void {
    const before = this.committed;
    this.committed = endOffsets;
    if (watermarkMs === null) return;
    for (const window of this.open) {
      if (window.startMs + windowMs > watermarkMs) continue;
      for (const cell of window.cells) {
        if (cell === undefined) continue;
        const from = before.get(cell.partition);
        // With the first commit it hears of, an observer does not know which batch took what: such records it calls lacking.
        if (from === undefined) continue;
        // The batch took these records from the topic when their window was closed already.
        const end = endOffsets.get(cell.partition) ?? 0;
        cell.late += Math.max(0, storedBefore(cell, end) - Math.max(storedBefore(cell, from), cell.reached));
      }
      if (this.isCommitted(window)) this.giveUp(window);
    }
  }

  /** Judges nothing of windows that begin before `sinceMs`: the topics no longer hold all of their records and results. */
  judgeSince(sinceMs: number): void {
    if (sinceMs <= this.sinceMs) return;
    this.sinceMs = sinceMs;
    for (const window of this.windows.values()) if (window.startMs < sinceMs) this.drop(window);
  }

  /** Windows that begin before it are not judged; epoch ms. */
  judgedSince(): number {
    return this.sinceMs;
  }

  /** Intended times of the first record of each window and product that no result counts; epoch ms. */
  *uncounted(): Iterable<number> {
    for (const { cells } of this.open) {
      for (const cell of cells) {
        const timeMs = cell === undefined ? null : firstUncountedMs(cell);
        if (timeMs !== null) yield timeMs;
      }
    }
  }

  /** Results seen so far, of whatever class. */
  resultsSeen(): number {
    return this.seen;
  }

  /** Where each partition's counted records end: no earlier one can still be on its way. */
  countedOffsets(): ReadonlyMap<number, number> {
    return this.countedEnds;
  }

  /** Running totals by class; what committed batches lack is among them as long as they lack it. */
  resultTotals(): ResultTotals {
    const totals = { ...this.totals };
    for (const { cells } of this.open) {
      for (const cell of cells) if (cell !== undefined) this.addLacking(totals, cell);
    }
    return totals;
  }

  /** What it holds in memory. */
  held(): {
    readonly records: number;
    readonly cells: number;
    readonly early: number;
    readonly products: number;
  } {
    let [cells, early] = [0, 0];
    for (const window of this.windows.values()) cells += Object.keys(window.cells).length;
    for (const waiting of this.early.values()) early += waiting.length;
    return { records: this.records, cells, early, products: this.products.size };
  }

  /** The window of this start; a new newest one is the occasion to forget old ones. */
  private enter(startMs: number): Window {
    let window = this.windows.get(startMs);
    if (window === undefined) {
      window = { startMs, cells: [] };
      this.windows.set(startMs, window);
    }
    this.open.add(window);
    this.current = window;
    if (startMs > this.newestWindowMs) {
      this.newestWindowMs = startMs;
      this.forget();
    }
    return window;
  }

  /** Drops what no result can concern any more. */
  private forget(): void {
    for (const window of this.open) {
      if (window.startMs < this.newestWindowMs - keepMs) this.giveUp(window);
      else if (window.startMs < this.newestResultMs - rememberMs || this.records > rememberRecords) {
        this.forgetCounted(window);
      }
    }
    for (const window of this.windows.values()) {
      if (window.startMs < this.newestWindowMs - keepMs) this.drop(window);
    }
    this.products.forget(this.newestWindowMs - keepMs);
  }

  private forgetCounted(window: Window): void {
    let complete = true;
    for (const cell of window.cells) {
      if (cell === undefined) continue;
      if (isComplete(cell)) this.forgetRecords(cell);
      else complete = false;
    }
    if (complete) this.close(window);
  }

  private forgetRecords(cell: WindowCell): void {
    this.records -= cell.length;
    forgetRecords(cell);
  }

  private drop(window: Window): void {
    for (const cell of window.cells) if (cell !== undefined) this.records -= cell.length;
    this.windows.delete(window.startMs);
    this.close(window);
  }

  /** Not among those with records that are not counted, until there is a new one. */
  private close(window: Window): void {
    this.open.delete(window);
    if (this.current === window) this.current = undefined;
  }

  /** No result can come any more: what a window lacks now it lacks for good. */
  private giveUp(window: Window): void {
    for (const cell of window.cells) {
      if (cell === undefined) continue;
      this.addLacking(this.totals, cell, Number.POSITIVE_INFINITY);
      this.forgetRecords(cell);
      cell.reached = cell.base.count;
      cell.lost = 0;
      cell.late = 0;
    }
    this.close(window);
  }

  private isCommitted({ cells }: Window): boolean {
    return cells.every((cell) => !cell || cell.lastOffset < (this.committed.get(cell.partition) ?? 0));
  }

  private addLacking(totals: ResultTotalsInMaking, cell: WindowCell, end?: number): void {
    totals.lateDropped += cell.late;
    const lacking = lackingBefore(cell, end ?? this.committed.get(cell.partition) ?? 0);
    if (lacking === 0) return;
    totals[cell.claimed === 0 ? 'missingWindows' : 'shortWindows']++;
    totals[cell.claimed === 0 ? 'missingRecords' : 'shortRecords'] += lacking;
  }

  /** Judges a cell's results until one is early. */
  private judgeInOrder(key: string, waiting: EarlyResult[], inputRead: Seen): void {
    let judged = 0;
    for (const { result, seen } of waiting) {
      if (!this.judge(result, seen.atMs < inputRead.atMs || seen.stampMs < inputRead.stampMs)) break;
      judged++;
    }
    if (judged === waiting.length) this.early.delete(key);
    else this.early.set(key, waiting.slice(judged));
  }

  /** False when it is early. */
  private judge(result: WindowResult, settled: boolean): boolean {
    if (result.windowMs < Math.max(this.sinceMs, this.newestWindowMs - keepMs)) {
      this.totals.unjudged++;
      return true;
    }
    const product = this.products.named(result.product);
    const window = this.windows.get(result.windowMs);
    const cell = product && window?.cells[product.id];
    if (!window || !cell) {
      if (settled) this.totals.phantom++;
      return settled;
    }
    const { wrong, excess, fallen } = cell;
    const verdict = judgeResult(cell, result, settled);
    if (verdict === 'early') return false;
    this.newestResultMs = Math.max(this.newestResultMs, result.windowMs);
    const { partition } = cell;
    this.countedEnds.set(partition, Math.max(this.countedEnds.get(partition) ?? 0, reachedOffset(cell)));
    if (!isComplete(cell)) this.open.add(window);
    if (cell.wrong && !wrong) this.totals.wrong++;
    if (cell.excess > 0 && excess === 0) this.totals.longWindows++;
    this.totals.longRecords += cell.excess - excess;
    this.count(verdict, fallen);
    if (verdict === 'replayed') cell.fallen = 0;
    return true;
  }

  private count(verdict: Exclude<ResultClass, 'early'>, fallen: number): void {
    switch (verdict) {
      case 'advanced':
      case 'wrong': // by window, not by result
        return;
      case 'fallen':
        // Conflicting until the job has replayed it to where it was.
        this.totals.conflicting++;
        return;
      case 'replayed':
        this.totals.conflicting -= fallen;
        this.totals.reemitted += fallen;
        return;
      case 'reemitted':
      case 'conflicting':
        this.totals[verdict]++;
        return;
      default:
        verdict satisfies never;
    }
  }
}

type ResultTotalsInMaking = { -readonly [Class in keyof ResultTotals]: ResultTotals[Class] };
