import type { Correctness } from '../../../state-machines/recovery/sample.ts';
import type { StoredRecord } from '../records/record.ts';
import { cellKey, type WindowResult, windowMs, windowStartMs } from '../records/window.ts';
import {
  emptyCell,
  firstUncountedMs,
  forgetCounted,
  judgeResult,
  type ResultClass,
  storeRecord,
  uncountedBefore,
  type WindowCell,
} from './window-cell.ts';

interface EarlyResult {
  readonly result: WindowResult;
  readonly seenMs: number;
}

/** Counted windows are kept in full for so long after their end: replays come within a batch or two. */
const rememberMs = 120_000;
/** And their totals for so long; older results are not judged. */
const keepMs = 2 * 3_600_000;

/**
 * Compares the results with the input topic *as stored*: every count must name a prefix, in offset order, of its
 * window's records, with exactly their sums.
 */
export class ResultsCheck {
  private readonly cells = new Map<string, WindowCell>();
  private readonly open = new Set<WindowCell>();
  /** Results that wait for their records, in the order in which they came. */
  private readonly early = new Map<string, EarlyResult[]>();
  private readonly totals = { wrong: 0, conflicting: 0, reemitted: 0, phantom: 0 };
  private newestWindowMs = Number.NEGATIVE_INFINITY;
  private seen = 0;

  /** The input topic's next record of its partition. */
  addRecord(record: StoredRecord, offset: number): void {
    const start = windowStartMs(record.intendedMs);
    const key = cellKey(record.product, start);
    let cell = this.cells.get(key);
    if (cell === undefined) {
      cell = emptyCell(record.product, start, record.partition);
      this.cells.set(key, cell);
    }
    storeRecord(cell, record, offset);
    this.open.add(cell);
    this.newestWindowMs = Math.max(this.newestWindowMs, start);
  }

  /** A result, in the order of the output topic. It may be ahead of what was read of the input. */
  addResult(result: WindowResult, seenMs: number): void {
    this.seen++;
    if (result.windowMs < this.newestWindowMs - keepMs) return;
    const key = cellKey(result.product, result.windowMs);
    const waiting = this.early.get(key) ?? [];
    waiting.push({ result, seenMs });
    this.judgeInOrder(key, waiting, Number.NEGATIVE_INFINITY);
  }

  /**
   * Judges again what came early. Everything stored before `inputReadMs` has been read: a result seen before it that
   * still names more records than there are counts what never was.
   */
  settle(inputReadMs: number): void {
    for (const [key, waiting] of this.early) this.judgeInOrder(key, waiting, inputReadMs);
  }

  /** Drops what no result can concern any more. */
  forget(): void {
    for (const cell of this.open) {
      if (cell.windowMs + windowMs > this.newestWindowMs - rememberMs) continue;
      forgetCounted(cell);
      if (firstUncountedMs(cell) === null) this.open.delete(cell);
    }
    for (const [key, cell] of this.cells) {
      // They were added nearly in the order of windows: behind the first young one all are young.
      if (cell.windowMs > this.newestWindowMs - keepMs) break;
      if (!this.open.has(cell)) this.cells.delete(key);
    }
  }

  /** Windows that may still have uncounted records. */
  openCells(): Iterable<WindowCell> {
    return this.open;
  }

  /** Results seen so far, of whatever class. */
  resultsSeen(): number {
    return this.seen;
  }

  /** Running totals by class. */
  resultTotals(): Pick<Correctness, 'wrong' | 'conflicting' | 'reemitted' | 'phantom'> {
    return { ...this.totals };
  }

  /** Records below these offsets that no result counts; ask with offsets whose results must have been read by now. */
  shortOf(offsets: ReadonlyMap<number, number>): Pick<Correctness, 'shortWindows' | 'shortRecords'> {
    let shortWindows = 0;
    let shortRecords = 0;
    for (const cell of this.open) {
      const missing = uncountedBefore(cell, offsets.get(cell.partition) ?? 0);
      shortRecords += missing;
      if (missing > 0) shortWindows++;
    }
    return { shortWindows, shortRecords };
  }

  /** Judges a cell's results until one is early; one that was seen before `inputReadMs` cannot be. */
  private judgeInOrder(key: string, waiting: EarlyResult[], inputReadMs: number): void {
    const cell = this.cells.get(key);
    let judged = 0;
    for (const { result, seenMs } of waiting) {
      const verdict = cell === undefined ? 'early' : judgeResult(cell, result);
      if (verdict !== 'early') this.count(verdict, cell!);
      else if (seenMs < inputReadMs) this.totals[cell === undefined ? 'phantom' : 'wrong']++;
      else break;
      judged++;
    }
    if (judged === waiting.length) this.early.delete(key);
    else this.early.set(key, waiting.slice(judged));
  }

  private count(verdict: Exclude<ResultClass, 'early'>, cell: WindowCell): void {
    switch (verdict) {
      case 'advanced':
        return;
      case 'fallen':
        // Conflicting until the job has replayed it to where it was.
        this.totals.conflicting++;
        return;
      case 'replayed':
        this.totals.conflicting -= cell.fallen;
        this.totals.reemitted += cell.fallen;
        cell.fallen = 0;
        return;
      case 'reemitted':
      case 'conflicting':
      case 'wrong':
        this.totals[verdict]++;
        return;
      default:
        verdict satisfies never;
    }
  }
}
