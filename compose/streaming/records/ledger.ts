/** Records `from` up to, not including, `to`. */
export interface SeqRange {
  readonly from: number;
  readonly to: number;
}

/**
 * What became of one partition's records. One range is under way at a time and is repeated until it is acknowledged,
 * so that the records stay in order and everything below `acked` was acknowledged, or found in the topic at a start.
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
  /**
   * Which records such attempts were about, and which ones were acknowledged but are not in the topic any more. In
   * order, without overlap, and at most `maximumRanges` of each: beyond that the two closest become one that covers
   * both, and with that says more than what is known.
   */
  readonly failed: readonly SeqRange[];
  readonly unanswered: readonly SeqRange[];
  readonly absent: readonly SeqRange[];
}

/** An outage makes one range of a partition: so many outages are told apart. */
export const maximumRanges = 64;

/** A ledger whose records below `acked` are in the topic. */
export function openLedger(acked: number): Ledger {
  const attempts = { failedRecords: 0, unansweredRecords: 0, failed: [], unanswered: [], absent: [] };
  return { acked, underWay: null, indeterminate: false, ...attempts };
}

/**
 * Goes on with a ledger that was kept, beside a topic that holds the records below `stored`. More than it knows of was
 * stored without its knowledge, after it was last kept. Less means that the broker has lost what it had acknowledged:
 * those records are told as absent, and never sent again.
 */
export function reopenLedger(kept: Ledger, stored: number): Ledger {
  const lost = { from: stored, to: kept.acked };
  return {
    ...kept,
    ...{ acked: Math.max(kept.acked, stored), underWay: null, indeterminate: false },
    absent: stored < kept.acked ? withRange(kept.absent, lost) : kept.absent,
  };
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
  const { underWay, failed, unanswered } = ledger;
  if (underWay === null) throw new RangeError('nothing is under way');
  const records = underWay.to - underWay.from;
  if (answer === 'failed') {
    return { ...ledger, failedRecords: ledger.failedRecords + records, failed: withRange(failed, underWay) };
  }
  return {
    ...ledger,
    indeterminate: true,
    unansweredRecords: ledger.unansweredRecords + records,
    unanswered: withRange(unanswered, underWay),
  };
}

/** Records that may or may not be stored at the moment. */
export function indeterminateRecords({ underWay, indeterminate }: Ledger): number {
  return underWay !== null && indeterminate ? underWay.to - underWay.from : 0;
}

/** Adds a range at the end of others; what it touches becomes one with it. */
function withRange(ranges: readonly SeqRange[], range: SeqRange): readonly SeqRange[] {
  const apart = ranges.filter(({ to }) => to < range.from);
  const touching = [...ranges.slice(apart.length), range];
  const joined = {
    from: Math.min(...touching.map(({ from }) => from)),
    to: Math.max(...touching.map(({ to }) => to)),
  };
  return apart.length < maximumRanges ? [...apart, joined] : joinClosest([...apart, joined]);
}

function joinClosest(ranges: readonly SeqRange[]): readonly SeqRange[] {
  const gaps = ranges.slice(1).map(({ from }, index) => from - ranges[index]!.to);
  const closest = gaps.indexOf(Math.min(...gaps));
  const joined = { from: ranges[closest]!.from, to: ranges[closest + 1]!.to };
  return [...ranges.slice(0, closest), joined, ...ranges.slice(closest + 2)];
}
