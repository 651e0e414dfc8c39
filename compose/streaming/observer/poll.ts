import { setTimeout as sleep } from 'node:timers/promises';
import { deadline } from '../../../provisioners/deadline.ts';

export interface Poll<T> {
  readonly everyMs: number;
  /** An answer that takes longer is none. */
  readonly timeoutMs: number;
  readonly ask: (signal: AbortSignal) => Promise<T>;
  /** `askedMs`: when it was asked, epoch ms; what it says is true of an instant between then and now. */
  readonly onAnswer: (answer: T, askedMs: number) => void;
  readonly onSilence: (error: unknown) => void;
}

/**
 * Asks again and again until the signal; one question at a time, and nobody waits for the answer. Whoever is asked may
 * ignore the signal: silence is told in time, but the next question waits until the former one has ended.
 */
export async function poll<T>(
  { everyMs, timeoutMs, ask, onAnswer, onSilence }: Poll<T>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const askedMs = Date.now();
    const inTime = AbortSignal.any([signal, deadline(timeoutMs)]);
    const answer = ask(inTime);
    try {
      onAnswer(await unlessAborted(answer, inTime), askedMs);
    } catch (error) {
      if (!signal.aborted) onSilence(error);
    }
    await unlessAborted(answer, signal).catch(() => {});
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}

/** The answer, or a rejection as soon as the signal says so; what comes of the answer then is lost. */
function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason);
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp);
    answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp));
  });
}

/** One GET; anything but 200 is an error. */
export async function getJson<T>(url: string, signal: AbortSignal): Promise<T> {
  const response = await fetch(url, { signal });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`${url} answered ${response.status}`);
  }
  return (await response.json()) as T;
}
