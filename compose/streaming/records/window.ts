/** The job's tumbling windows; aligned to the epoch, as Spark aligns them. */
export const windowMs = 5_000;

/** What a result says about the records of one product in one window. */
export interface WindowTotals {
  readonly count: number;
  /** Sum of cents x quantity; exact below 2^53, like the next one. */
  readonly sum: number;
  /** Sum of the records' CRC-32: a lost and a doubled record do not cancel out. */
  readonly crc: number;
  /** Newest intended time among them, epoch ms. */
  readonly newestMs: number;
}

/** A result of the job as it appears in the output topic. */
export interface WindowResult extends WindowTotals {
  readonly windowMs: number;
  readonly product: string;
}

/** Totals of no records. */
export const noRecords: WindowTotals = { count: 0, sum: 0, crc: 0, newestMs: 0 };

/** Start of the window that a record falls into. */
export function windowStartMs(intendedMs: number): number {
  return Math.floor(intendedMs / windowMs) * windowMs;
}

/** Names one product in one window, as the results are keyed. */
export function cellKey(product: string, windowStart: number): string {
  return `${product}|${windowStart}`;
}

/** Reads a result's value; null when it is none of ours. */
export function parseResult(value: Buffer): WindowResult | null {
  try {
    const parsed = JSON.parse(value.toString()) as WindowResult;
    const numbers = [parsed.windowMs, parsed.count, parsed.sum, parsed.crc, parsed.newestMs];
    return typeof parsed.product === 'string' && numbers.every(Number.isFinite) ? parsed : null;
  } catch {
    return null;
  }
}
