import { ProvisionError } from '../../provisioners/contract.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { StepResult } from './apply-plan.ts';
import type { Step } from './cluster-plan.ts';

const firstMs = 500;
const lastMs = 30_000;

/** A step that did not succeed when it was last tried. */
export interface StepFailure {
  readonly step: Step;
  readonly message: string;
  /** Trying it again is of no use by itself. */
  readonly needsHelp: boolean;
}

interface Failure {
  readonly count: number;
  readonly failedAtMs: number;
  readonly delayMs: number;
  readonly message: string;
  readonly needsHelp: boolean;
}

/**
 * Holds back steps that failed, each with its own doubling delay: what cannot be done for one machine must not slow
 * down what can be done for the others.
 */
export class StepBackoff {
  readonly #clock: Clock;
  readonly #failures = new Map<string, Failure>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True as long as a step that failed is not to be tried again. */
  holdsBack({ id }: Step): boolean {
    return (this.nextRetryMs([{ id }]) ?? 0) > 0;
  }

  /** Those of the steps that failed when they were last tried, and why. */
  failuresOf(steps: readonly Step[]): readonly StepFailure[] {
    return steps.flatMap((step) => {
      const failure = this.#failures.get(step.id);
      return failure ? [{ step, message: failure.message, needsHelp: failure.needsHelp }] : [];
    });
  }

  /** Takes in how steps ended. */
  record(results: readonly StepResult[]): void {
    for (const { step, outcome } of results) {
      if (outcome.state === 'failed') this.#fail(step.id, outcome);
      else if (outcome.state !== 'skipped') this.#failures.delete(step.id);
    }
  }

  /** Forgets all: an edit may have mended the cause. */
  clear(): void {
    this.#failures.clear();
  }

  /** Ms until the first step may be tried again; undefined when none is held back. */
  nextRetryMs(steps: readonly Pick<Step, 'id'>[]): number | undefined {
    const nowMs = this.#clock.now();
    const waits = steps.flatMap(({ id }) => {
      const failure = this.#failures.get(id);
      return failure ? [waitMs(failure, nowMs)] : [];
    });
    return waits.length === 0 ? undefined : Math.min(...waits);
  }

  #fail(id: string, { message, error }: { readonly message: string; readonly error: unknown }): void {
    const count = (this.#failures.get(id)?.count ?? 0) + 1;
    const delayMs = Math.min(lastMs, firstMs * 2 ** (count - 1));
    const needsHelp = error instanceof ProvisionError && error.needsHelp;
    this.#failures.set(id, { count, failedAtMs: this.#clock.now(), delayMs, message, needsHelp });
  }
}

/** A clock that was set back has not made the wait longer: then it is over. */
function waitMs({ failedAtMs, delayMs }: Failure, nowMs: number): number {
  const goneMs = nowMs - failedAtMs;
  return goneMs < 0 ? 0 : Math.max(0, delayMs - goneMs);
}
