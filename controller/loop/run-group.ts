/** A part of the process that runs as long as the process does. */
export interface Actor {
  readonly name: string;
  /** Runs until its work is over or `signal` aborts, then puts its things away and settles. */
  execute(signal: AbortSignal): Promise<void>;
}

/** What ended the group. */
export interface GroupEnd {
  readonly first: string;
}

/**
 * Runs all actors; the first that ends, well or badly, interrupts the others, and all are awaited. Rejects with the
 * first actor's error; errors of the others, on their way out, are added to it as an AggregateError.
 */
export async function runGroup(actors: readonly Actor[]): Promise<GroupEnd> {
  const interrupt = new AbortController();
  const errors: unknown[] = [];
  let first: string | undefined;
  const ended = (actor: Actor) => {
    first ??= actor.name;
    interrupt.abort(new Error(`${first} ended`));
  };
  await Promise.all(
    actors.map(async (actor) => {
      try {
        await actor.execute(interrupt.signal);
      } catch (error) {
        if (!isInterrupt(error, interrupt.signal)) errors.push(error);
      } finally {
        ended(actor);
      }
    }),
  );
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, 'several parts of the process failed');
  return { first: first ?? 'nothing' };
}

function isInterrupt(error: unknown, signal: AbortSignal): boolean {
  return (
    signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'))
  );
}
