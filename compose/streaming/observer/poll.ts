import { setTimeout as sleep } from 'node:timers/promises';

export interface Poll<T> {
  readonly everyMs: number;
  /** An answer that takes longer is none. */
  readonly timeoutMs: number;
  readonly ask: (signal: AbortSignal) => Promise<T>;
  readonly onAnswer: (answer: T) => void;
  readonly onSilence: (error: unknown) => void;
}

/** Asks again and again until the signal; one question at a time, and nobody waits for the answer. */
export async function poll<T>(
  { everyMs, timeoutMs, ask, onAnswer, onSilence }: Poll<T>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      onAnswer(await ask(AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])));
    } catch (error) {
      if (!signal.aborted) onSilence(error);
    }
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
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
