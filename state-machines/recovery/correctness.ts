import type { TrialVerdict } from '../../crds/trial-record.ts';
import type { Correctness, Sample } from './sample.ts';

/** Classes that mean that something is lost, doubled or wrong; each is judged on its own, none nets another. */
const errors = [
  'acknowledgedButAbsent',
  'storedTwice',
  'wrong',
  'conflicting',
  'phantom',
] as const satisfies readonly (keyof Correctness)[];

/** What was added to each class between two rows, and the verdict on it. */
export interface CorrectnessJudgement {
  readonly verdict: TrialVerdict['correctness'];
  readonly counts: Readonly<Record<keyof Correctness, number>>;
}

/**
 * Compares the observer's running totals before the fault with those at the end. Short windows are told, not judged:
 * the newest ones always are; an old one holds F_visible back, and so denies recovery.
 */
export function judgeCorrectness(
  before: Sample | undefined,
  after: Sample | undefined,
): CorrectnessJudgement {
  const added = (part: keyof Correctness) =>
    (after?.correctness[part] ?? 0) - (before?.correctness[part] ?? 0);
  const counts = {
    acknowledgedButAbsent: added('acknowledgedButAbsent'),
    storedTwice: added('storedTwice'),
    wrong: added('wrong'),
    conflicting: added('conflicting'),
    reemitted: added('reemitted'),
    phantom: added('phantom'),
    shortWindows: after?.correctness.shortWindows ?? 0,
    shortRecords: after?.correctness.shortRecords ?? 0,
  };
  if (!before || !after) return { verdict: 'Unknown', counts };
  return { verdict: errors.some((part) => counts[part] > 0) ? 'Incorrect' : 'Correct', counts };
}
