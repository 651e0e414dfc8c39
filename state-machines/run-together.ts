import { type FaultRun, type Outcome, RefusedError, type RunInstants, type RunResult } from './contract.ts';
import { type RunnerPorts, runFault } from './fault-runner.ts';

/** `Refused` says that nothing was hurt, so it is the word for several only when none was `Aborted`. */
const byGravity: readonly Outcome[] = ['Stuck', 'Unknown', 'Aborted', 'Refused', 'Healed'];

/**
 * Runs faults that begin at the same moment: each is armed, and none is injected before all are. When one is refused
 * none is injected; when one goes wrong later the others are healed before their time, for what was asked for cannot be
 * had any more. Resolves with the result of each, in their order; never rejects for a fault's sake.
 */
export async function runTogether(
  runs: readonly FaultRun[],
  ports: RunnerPorts,
  signal: AbortSignal,
): Promise<readonly RunResult[]> {
  const gate = startingGate(runs.length);
  const others = new AbortController();
  const either = AbortSignal.any([signal, others.signal]);
  const run = async (one: FaultRun): Promise<RunResult> => {
    const result = await runFault(one, { ...ports, ready: gate.arrive }, either);
    const reason = `${one.fault}, which it was to be together with, ended ${result.outcome}`;
    if (!gate.isOpen()) gate.leave(reason);
    else if (result.outcome !== 'Healed') others.abort(new Error(reason));
    return result;
  };
  return Promise.all(runs.map(run));
}

/** Of several outcomes the one that must be told; undefined when there is none. */
export function gravest(outcomes: readonly Outcome[]): Outcome | undefined {
  return byGravity.find((grave) => outcomes.includes(grave));
}

/** What came of faults that were run together, as of one: from the first order to the last that was seen gone. */
export function mergeResults(runId: string, results: readonly RunResult[]): RunResult {
  const outcome = gravest(results.map((result) => result.outcome)) ?? 'Healed';
  // What was healed as it should be has nothing to say of what went wrong.
  const telling = results.filter((result) => result.outcome === outcome || result.outcome !== 'Healed');
  const messages = new Set(telling.flatMap(({ message }) => message ?? []));
  const instants = results.map((result) => result.instants);
  const of = <K extends keyof RunInstants>(key: K) => instants.flatMap((each) => each[key] ?? []);
  const isInEffect = of('effMs').length === results.length;
  const last = instants.toSorted((a, b) => (a.effMs ?? 0) - (b.effMs ?? 0)).at(-1);
  const ended = instants.toSorted((a, b) => (a.endMs ?? 0) - (b.endMs ?? 0)).at(-1);
  return {
    ...{ runId, outcome },
    instants: {
      ...(of('cmdMs').length > 0 && { cmdMs: Math.min(...of('cmdMs')) }),
      ...(isInEffect && last && pick(last, ['effMs', 'effResolutionMs'])),
      ...(isInEffect && { firstEffMs: Math.min(...of('firstEffMs')) }),
      ...(ended && pick(ended, ['endMs', 'endResolutionMs'])),
    },
    ...(messages.size > 0 && { message: [...messages].join('; ') }),
  };
}

function pick<K extends keyof RunInstants>(instants: RunInstants, keys: readonly K[]): Pick<RunInstants, K> {
  return Object.fromEntries(keys.flatMap((key) => (key in instants ? [[key, instants[key]]] : []))) as Pick<
    RunInstants,
    K
  >;
}

/** Opens when so many have arrived; when one leaves before that, those who wait, and who come later, are refused. */
function startingGate(parties: number): {
  readonly arrive: (signal: AbortSignal) => Promise<void>;
  readonly leave: (reason: string) => void;
  readonly isOpen: () => boolean;
} {
  let missing = parties;
  let refusal: RefusedError | undefined;
  const waiting = new Set<() => void>();
  const tell = () => {
    for (const look of waiting) look();
  };
  return {
    arrive(signal) {
      missing -= 1;
      return new Promise((resolve, reject) => {
        const look = () => {
          if (missing > 0 && !refusal && !signal.aborted) return;
          waiting.delete(look);
          signal.removeEventListener('abort', look);
          if (missing === 0) resolve();
          else reject((refusal ?? signal.reason) as Error);
        };
        waiting.add(look);
        signal.addEventListener('abort', look, { once: true });
        tell();
      });
    },
    leave(reason) {
      refusal ??= new RefusedError(reason);
      tell();
    },
    isOpen: () => missing === 0,
  };
}
