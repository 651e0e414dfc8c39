import type { Clock } from '../../state-machines/contract.ts';

/** Something that was done to a cluster by one who is not the trial that is being judged. */
export interface Intervention {
  /** The reconciler, the look for orphans, or whose fault it is, as in claims. */
  readonly by: string;
  readonly what: string;
  readonly fromMs: number;
  /** The same instant for what is done at once; absent while it lasts. */
  readonly toMs?: number;
}

/** What was done to one cluster, in memory: a trial that outlives its process is Invalid anyhow. */
export interface Interventions {
  note(by: string, what: string): void;
  /** Something that lasts until the function that is returned is called. */
  begin(by: string, what: string): () => void;
  /** Those that were going on at that instant, or began later, by others than `owner`. */
  since(fromMs: number, owner: string): readonly Intervention[];
}

/** More than happens within the longest trial. */
const kept = 1_000;

export function createInterventions(clock: Clock): Interventions {
  let all: Intervention[] = [];
  const add = (one: Intervention) => {
    all = [...all.slice(1 - kept), one];
  };
  return {
    note(by, what) {
      const atMs = clock.now();
      add({ by, what, fromMs: atMs, toMs: atMs });
    },
    begin(by, what) {
      const one = { by, what, fromMs: clock.now() };
      add(one);
      return () => {
        all = all.map((each) => (each === one ? { ...one, toMs: clock.now() } : each));
      };
    },
    since: (fromMs, owner) =>
      all.filter(({ by, toMs = Number.POSITIVE_INFINITY }) => by !== owner && toMs >= fromMs),
  };
}
