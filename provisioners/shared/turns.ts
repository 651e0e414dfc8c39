import { untilAborted } from './until-aborted.ts';

/** Works on each of several things one after the other, also when whoever waits has given up; what hangs holds nobody. */
export class Turns {
  /** The last one of each. */
  readonly #last = new Map<string, Promise<void>>();

  take(name: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(work, work);
    this.#last.set(name, turn);
    return untilAborted(turn, signal);
  }
}
