import type { Sample } from './sample.ts';

/** A generator that gives no answer for so long is gone, not slow: the swarm restarts one within seconds. */
const goneMs = 30_000;

const processes = { observerStartedMs: 'observer', generatorStartedMs: 'generator' } as const;

/**
 * Why the rows do not bear a number, if so: a process that makes them was started anew between them, or the generator
 * fell silent. Rows oldest first; times of the rows themselves.
 */
export function sourceProblems(rows: readonly Sample[]): readonly string[] {
  const restarts = Object.entries(processes).flatMap(([field, name]) => {
    const started = new Set(rows.map(({ sources }) => sources[field as keyof typeof processes]));
    return started.size > 1 ? [`the ${name} was started anew while it was watched`] : [];
  });
  const silentMs = rows.reduce(
    (longest, { atMs, sources }) => Math.max(longest, atMs - sources.generatorSeenMs),
    0,
  );
  return silentMs > goneMs
    ? [...restarts, `the generator gave no answer for ${Math.round(silentMs / 1000)} s`]
    : restarts;
}
