import type { TrialVerdict } from '../../crds/trial-record.ts';
import { type Correctness, noFindings, type Sample } from './sample.ts';

/** Classes that mean nothing bad: the same content once more, and results too old to be judged. */
const harmless: readonly string[] = ['reemitted', 'unjudged'] satisfies readonly (keyof Correctness)[];

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
  const parts = Object.keys(counts) as (keyof Correctness)[];
  for (const part of parts) {
    const added = (after?.correctness[part] ?? 0) - (before?.correctness[part] ?? 0);
    counts[part] = Math.max(0, added);
  }
  if (!before || !after) return { verdict: 'Unknown', counts };
  const isBad = parts.some((part) => counts[part] > 0 && !harmless.includes(part));
  return { verdict: isBad ? 'Incorrect' : 'Correct', counts };
}
