import type { Clock } from '../../state-machines/contract.ts';
import type { StepResult } from './apply-plan.ts';
import type { Step } from './cluster-plan.ts';

const firstMs = 500;
const lastMs = 30_000;

interface Failure {
  readonly count: number;
  readonly retryAtMs: number;
  readonly message: string;
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

  /** Why a step is not tried again yet. */
  heldBack({ id }: Step): string | undefined {
    const failure = this.#failures.get(id);
    return failure && failure.retryAtMs > this.#clock.now() ? failure.message : undefined;
  }

  /** Takes in how steps ended. */
  record(results: readonly StepResult[]): void {
    for (const { step, outcome } of results) {
      if (outcome.state === 'failed') this.#fail(step.id, outcome.message);
      else if (outcome.state !== 'skipped') this.#failures.delete(step.id);
    }
  }

  /** Forgets all: an edit may have mended the cause. */
  clear(): void {
    this.#failures.clear();
  }

  /** Ms until the first step may be tried again; undefined when none is held back. */
  nextRetryMs(steps: readonly Step[]): number | undefined {
    const times = steps.flatMap(({ id }) => this.#failures.get(id)?.retryAtMs ?? []);
    return times.length === 0 ? undefined : Math.max(0, Math.min(...times) - this.#clock.now());
  }

  #fail(id: string, message: string): void {
    const count = (this.#failures.get(id)?.count ?? 0) + 1;
    const delayMs = Math.min(lastMs, firstMs * 2 ** (count - 1));
    this.#failures.set(id, { count, retryAtMs: this.#clock.now() + delayMs, message });
  }
}
