import type { TrialVerdict } from '../../crds/trial-record.ts';
import { type Correctness, errorClasses, findingClasses, noFindings, type Sample } from './sample.ts';

/** What was added to each class between two rows, and the verdict on it. */
export interface CorrectnessJudgement {
  readonly verdict: TrialVerdict['correctness'];
  readonly counts: Readonly<Record<keyof Correctness, number>>;
}

/**
 * Compares the observer's running totals before the fault with those at the end. Each class is judged on its own, none
 * nets another; one that fell meanwhile (a job replays what was conflicting before) has added nothing.
 */
export function judgeCorrectness(
  before: Sample | undefined,
  after: Sample | undefined,
): CorrectnessJudgement {
  const counts = { ...noFindings };
  for (const part of findingClasses) {
    const added = (after?.correctness[part] ?? 0) - (before?.correctness[part] ?? 0);
    counts[part] = Math.max(0, added);
  }
  if (!before || !after) return { verdict: 'Unknown', counts };
  const isBad = errorClasses.some((part) => counts[part] > 0);
  return { verdict: isBad ? 'Incorrect' : 'Correct', counts };
}
