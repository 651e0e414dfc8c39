/** Records `from` up to, not including, `to`. */
export interface SeqRange {
  readonly from: number;
  readonly to: number;
}

/**
 * What became of one partition's records. One range is under way at a time and is repeated until it is acknowledged,
 * so that the records stay in order and everything below `acked` is known to be stored.
 */
export interface Ledger {
  /** The first record that is not acknowledged. */
  readonly acked: number;
  readonly underWay: SeqRange | null;
  /** True while an earlier attempt at `underWay` got no answer: its records may already be stored. */
  readonly indeterminate: boolean;
  /** Attempts that certainly stored nothing, and attempts without an answer; running totals of records. */
  readonly failedRecords: number;
  readonly unansweredRecords: number;
}

/** A ledger whose records below `acked` are in the topic. */
export function openLedger(acked: number): Ledger {
  return { acked, underWay: null, indeterminate: false, failedRecords: 0, unansweredRecords: 0 };
}

/** A range is sent: it begins where the acknowledged ones end, or repeats the one under way. */
export function sendRange(ledger: Ledger, range: SeqRange): Ledger {
  const again = ledger.underWay;
  const allowed =
    again === null ? range.from === ledger.acked : again.from === range.from && again.to === range.to;
  if (!allowed || range.to <= range.from) {
    throw new RangeError(`records ${range.from}..${range.to} are not what follows ${ledger.acked}`);
  }
  return { ...ledger, underWay: range };
}

/** The broker has stored the range under way. */
export function acknowledge(ledger: Ledger): Ledger {
  if (ledger.underWay === null) throw new RangeError('nothing is under way');
  return { ...ledger, acked: ledger.underWay.to, underWay: null, indeterminate: false };
}

/** An attempt ended without an acknowledgement; `answer` tells whether it can have stored anything. */
export function attemptEnded(ledger: Ledger, answer: 'failed' | 'unknown'): Ledger {
  if (ledger.underWay === null) throw new RangeError('nothing is under way');
  const records = ledger.underWay.to - ledger.underWay.from;
  return answer === 'failed'
    ? { ...ledger, failedRecords: ledger.failedRecords + records }
    : { ...ledger, indeterminate: true, unansweredRecords: ledger.unansweredRecords + records };
}

/** Records that may or may not be stored at the moment. */
export function indeterminateRecords({ underWay, indeterminate }: Ledger): number {
  return underWay !== null && indeterminate ? underWay.to - underWay.from : 0;
}
