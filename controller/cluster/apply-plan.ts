import { setMaxListeners } from 'node:events';
import { messageOf } from '../../provisioners/contract.ts';
import type { ClusterPlan, Step } from './cluster-plan.ts';

/** How one step ended. */
export type StepOutcome =
  | { readonly state: 'done' }
  /** Begun, and to be looked at again: not a failure. */
  | { readonly state: 'pending'; readonly message: string }
  /** A trial holds the target now. */
  | { readonly state: 'held'; readonly message: string }
  | { readonly state: 'failed'; readonly message: string; readonly error: unknown }
  /** What it waited for did not get done. */
  | { readonly state: 'skipped'; readonly message: string };

export interface StepResult {
  readonly step: Step;
  readonly outcome: StepOutcome;
}

/** Refused in the last moment: a trial claimed the target since the plan was made. */
export class HeldError extends Error {
  readonly code = 'HELD';
  constructor(target: string, owner: string) {
    super(`${target} is held by ${owner}`);
    this.name = 'HeldError';
  }
}

type ExecuteStep = (step: Step, signal: AbortSignal) => Promise<StepOutcome>;

/**
 * Carries a plan out: each step starts as soon as the steps it names are done, so that a slow machine holds up only
 * what needs it. Failures stay with their step; rejects only when the signal aborts, after all steps have returned.
 */
export async function applyPlan(
  plan: Pick<ClusterPlan, 'steps'>,
  execute: ExecuteStep,
  onResult: (result: StepResult) => void,
  signal: AbortSignal,
): Promise<readonly StepResult[]> {
  setMaxListeners(0, signal); // each call that waits for its answer is one
  const outcomes = new Map<string, Promise<StepOutcome>>();
  const byId = new Map(plan.steps.map((step) => [step.id, step]));
  const outcomeOf = (step: Step): Promise<StepOutcome> => {
    const known = outcomes.get(step.id);
    if (known) return known;
    const outcome = run(step);
    outcomes.set(step.id, outcome);
    return outcome;
  };
  const run = async (step: Step): Promise<StepOutcome> => {
    const earlier = await Promise.all(
      step.after.map(async (id): Promise<string> => {
        const other = byId.get(id);
        return other ? (await outcomeOf(other)).state : 'left out';
      }),
    );
    const undone = step.after.find((_, index) => earlier[index] !== 'done');
    const outcome: StepOutcome =
      undone === undefined
        ? await attempt(step, execute, signal)
        : { state: 'skipped', message: `waits for ${undone}` };
    onResult({ step, outcome });
    return outcome;
  };
  const results = await Promise.all(
    plan.steps.map(async (step) => ({ step, outcome: await outcomeOf(step) })),
  );
  signal.throwIfAborted();
  return results;
}

async function attempt(step: Step, execute: ExecuteStep, signal: AbortSignal): Promise<StepOutcome> {
  try {
    signal.throwIfAborted();
    return await execute(step, signal);
  } catch (error) {
    const message = messageOf(error);
    if (signal.aborted) return { state: 'skipped', message };
    return error instanceof HeldError ? { state: 'held', message } : { state: 'failed', message, error };
  }
}
