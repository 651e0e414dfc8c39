import { EngineError } from '../../controller/swarm/engine-error.ts';
import type { Clock } from '../../state-machines/contract.ts';

export interface FlakyOptions {
  /** Of a call to go wrong, in one of four ways. */
  readonly chance: () => number;
  readonly random: () => number;
  readonly clock: Clock;
  /** Told of each call that had its effect, whatever its caller was told. */
  readonly done?: (method: string, args: readonly unknown[]) => void;
}

/** After so long a client gives up an answer. */
const answerMs = 60_000;

/**
 * An API whose calls fail, or hang until their caller gives up, and do so before or after they had their effect: for a lost
 * answer is no proof that nothing happened. The last argument of each call is its signal. Streams are left alone.
 */
export function flaky<Api extends object>(api: Api, { chance, random, clock, done }: FlakyOptions): Api {
  const call = async (method: string, work: (...args: unknown[]) => Promise<unknown>, args: unknown[]) => {
    const isWrong = random() < chance();
    const [isLate, hangs] = [random() < 0.5, random() < 0.5];
    const fail = async () => {
      if (hangs) await clock.sleep(answerMs, args.at(-1) as AbortSignal);
      throw new EngineError('UNAVAILABLE', `${method}: ${hangs ? 'no answer' : 'connection reset'}`);
    };
    if (isWrong && !isLate) await fail();
    const answer = await work.apply(api, args);
    done?.(method, args);
    if (isWrong) await fail();
    return answer;
  };
  return new Proxy(api, {
    get(target, method) {
      const work: unknown = Reflect.get(target, method);
      if (typeof work !== 'function' || typeof method !== 'string' || method === 'events') return work;
      return (...args: unknown[]) => call(method, work as (...args: unknown[]) => Promise<unknown>, args);
    },
  });
}
