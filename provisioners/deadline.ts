/**
 * Aborts with a `TimeoutError` after so many milliseconds. Unlike a bare `AbortSignal.timeout` it does so, too, when it is
 * only a part of another signal: Node.js keeps a timeout for as long as somebody listens to it itself, and else forgets it at
 * the next garbage collection (nodejs/node#57736), so that what hangs would hang for ever.
 */
export function deadline(ms: number): AbortSignal {
  const signal = AbortSignal.timeout(ms);
  signal.addEventListener('abort', () => {}, { once: true });
  return signal;
}
