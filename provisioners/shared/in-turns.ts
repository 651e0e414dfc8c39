import type { NodeSwitch } from '../contract.ts';
import { untilAborted } from './until-aborted.ts';

/**
 * The same switch, whose calls on one machine come one after the other, also when whoever waits has given up; what hangs holds
 * nobody. Where it is for more than a machine, `thingOf` names that.
 */
export const inTurns = (
  { off, on, offUntil }: NodeSwitch,
  thingOf = (machine: string): string => machine,
): NodeSwitch => {
  /** The last call of each. */
  const last = new Map<string, Promise<void>>();
  const take = (name: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> => {
    const thing = thingOf(name);
    const turn = (last.get(thing) ?? Promise.resolve()).then(work, work);
    last.set(thing, turn);
    return untilAborted(turn, signal);
  };
  return {
    off: (name, signal) => take(name, signal, () => off(name, signal)),
    on: (name, signal) => take(name, signal, () => on(name, signal)),
    offUntil: (name, untilMs, signal) => take(name, signal, () => offUntil(name, untilMs, signal)),
  };
};
