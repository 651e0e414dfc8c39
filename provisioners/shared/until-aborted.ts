import { setMaxListeners } from 'node:events';

/** Waits for `work` or for the signal, whichever comes first; what arrives too late is given to `discard`. */
export const untilAborted = <T>(
  work: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => void = () => {},
): Promise<T> =>
  new Promise((resolve, reject) => {
    // One pass asks a hundred things under one signal: that is no leak.
    setMaxListeners(0, signal);
    const stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work
      .then((value) => {
        if (signal.aborted) discard(value);
        resolve(value);
      }, reject)
      .finally(() => signal.removeEventListener('abort', stop));
  });
