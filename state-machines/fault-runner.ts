import { createActor, fromPromise, toPromise } from 'xstate';
import { messageOf } from '../provisioners/contract.ts';
import {
  type FaultRun,
  type FaultStep,
  RefusedError,
  type RunJournal,
  type RunPhase,
  type RunRecord,
  type RunResult,
} from './contract.ts';
import {
  armStep,
  disarmStep,
  healStep,
  type Look,
  lookFromWitness,
  type StepPorts,
  type StepRun,
} from './dead-man/step-actions.ts';
import { type FaultInput, type FaultState, faultMachine } from './fault-machine.ts';
import {
  all,
  awaitGone,
  doubtOf,
  type Hold,
  holdUntil,
  injectAll,
  isSeenByWitnessAlone,
} from './observe-effect.ts';

export interface RunnerPorts extends StepPorts {
  /**
   * Plans the step anew on the task that has come in the place of one that is gone, given the run with all its steps so
   * far; undefined as long as none runs. Asked for runs that follow.
   */
  readonly successor?: (
    run: FaultRun,
    step: FaultStep,
    signal: AbortSignal,
  ) => Promise<FaultStep | undefined>;
  readonly journal: RunJournal;
  /** Awaited when all is armed and nothing injected: lets faults begin together. */
  readonly ready?: (signal: AbortSignal) => Promise<void>;
  /**
   * Told of each state of the machine as it is entered, `healed` or `stuck` last, with the steps so far: for metrics and
   * events.
   */
  readonly onState?: (run: FaultRun, state: FaultState, atMs: number) => void;
}

const successorPollMs = 500;
const healBackoffMs = { first: 500, most: 15_000 };
/** With that backoff, about a minute and a half. */
const maxHeals = 10;

/**
 * Runs one fault from nothing to verified healed. Resolves also when it was refused, aborted or got stuck: the outcome
 * says so. Abort by the signal at any time: what was broken is healed first.
 */
export function runFault(run: FaultRun, ports: RunnerPorts, signal: AbortSignal): Promise<RunResult> {
  const awayMs = Math.max(0, ...run.steps.map((step) => step.awayMs ?? 0));
  const input = {
    holdMs: run.instant ? 0 : run.holdMs,
    maxHeals: maxHeals + Math.ceil(awayMs / healBackoffMs.most),
  };
  return operate(run, ports, input, signal);
}

/** Heals, verifies and closes (as Aborted) every run that the journal knows as unfinished; a hold is never resumed. */
export async function healUnfinished(ports: RunnerPorts, signal: AbortSignal): Promise<readonly RunResult[]> {
  const records = await ports.journal.unfinished();
  signal.throwIfAborted();
  return Promise.all(
    records.map((record) => {
      const resumed = { injected: record.phase !== 'prepared' };
      // Healing is not to be aborted: whoever stops now waits for it.
      return operate(runOf(record), ports, { holdMs: 0, maxHeals, resumed }, new AbortController().signal);
    }),
  );
}

async function operate(
  run: FaultRun,
  ports: RunnerPorts,
  input: FaultInput,
  signal: AbortSignal,
): Promise<RunResult> {
  const steps = run.steps.map((step, index) => stepRun(run, step, index));
  const actor = createActor(bindMachine(run, steps, ports), { input });
  const abort = () => actor.send({ type: 'ABORT', reason: messageOf(signal.reason) });
  let state: FaultState | 'start' = 'start';
  actor.subscribe({
    next({ value }) {
      if (value === state || value === 'start') return;
      state = value;
      ports.onState?.(withSteps(run, steps), state, ports.clock.now());
    },
    error: () => undefined, // `ended` rejects with it
  });
  const ended = toPromise(actor);
  actor.start();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    const { outcome, instants, message } = await ended;
    const result = { runId: run.runId, outcome, instants, ...(message !== undefined && { message }) };
    return await close(withSteps(run, steps), ports, result);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function stepRun({ runId }: FaultRun, step: FaultStep, index: number): StepRun {
  return { name: `${runId}.${index}`, step };
}

/** The machine with its five actors acting on this run's nodes; what is followed is added to `steps`. */
function bindMachine(run: FaultRun, steps: StepRun[], ports: RunnerPorts) {
  let undoneMs = 0;
  const arming = new Set<Promise<unknown>>();
  const arm = async (unarmed: readonly StepRun[], holdMs: number, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted(); // also when it was while a record was written
    const { graceMs, together, needs } = run;
    const options = { fuseMs: holdMs + graceMs, holdMs, together, needs };
    // Waited for although the run is aborted: what is armed after its heal would hold the target until it fires.
    const looks = all(unarmed, (step) => armStep(ports, step, options, new AbortController().signal));
    arming.add(looks);
    refuseActive(unarmed, await looks);
    signal.throwIfAborted();
  };
  const follow = async (gone: StepRun, untilMs: number, signal: AbortSignal): Promise<StepRun> => {
    const step = await successorOf(withSteps(run, steps), gone.step, ports, signal);
    const next = stepRun(run, step, steps.length);
    // On the same node both have one name: what is left of the old one, if anything, is undone first and holds nothing.
    await healStep(ports, gone, signal);
    // From here on it is healed with the others, whatever becomes of it.
    steps.push(next);
    await enter(withSteps(run, steps), ports, 'holding');
    await arm([next], Math.max(0, untilMs - ports.clock.now()), signal);
    await injectAll([next], ports, signal);
    return next;
  };
  return faultMachine.provide({
    actors: {
      prepare: fromPromise(async ({ signal }) => {
        await enter(run, ports, 'prepared');
        await arm(steps, run.holdMs, signal);
        const lonely = steps.filter(isSeenByWitnessAlone);
        refuseActive(lonely, await all(lonely, (step) => lookFromWitness(ports, step, signal)));
        await ports.ready?.(signal);
      }),
      inject: fromPromise(async ({ signal }) => {
        await enter(run, ports, 'injecting');
        return injectAll(steps, ports, signal);
      }),
      hold: fromPromise(async ({ input, signal }) => {
        await enter(run, ports, 'holding');
        const { untilMs } = input;
        const hold: Hold = {
          untilMs,
          ...(run.follow && ports.successor && { follow: (gone, within) => follow(gone, untilMs, within) }),
        };
        return holdUntil(hold, [...steps], ports, signal);
      }),
      heal: fromPromise(async ({ input, signal }) => {
        if (input.attempt > 0) await ports.clock.sleep(backoffMs(input.attempt), signal);
        // A journal that cannot be written must not keep a fault alive: the older record heals just as well.
        else await enter(withSteps(run, steps), ports, 'healing').catch(() => undefined);
        await Promise.allSettled(arming);
        undoneMs = ports.clock.now();
        // Of a machine that was ended nothing is left to be undone: only who still measures waits for the next one.
        const isAwaited = ({ step }: StepRun) => step.switch !== 'spot' || input.outcome === 'Healed';
        const healed = all(steps, async (step) => {
          const work = healStep(ports, step, signal);
          await (isAwaited(step) ? work : work.catch(() => undefined));
        });
        // Without an inject nothing is broken: a node out of reach keeps a switch that will fire on nothing.
        await (input.injected ? healed : healed.catch(() => undefined));
      }),
      verify: fromPromise(async ({ input, signal }) => {
        const endMs = input.injected && !run.instant ? await awaitGone(steps, ports, signal) : undefined;
        const isClaimed = run.instant && input.outcome === 'Healed';
        const doubt = isClaimed ? await doubtOf(steps, ports, signal) : undefined;
        // Verified: a switch that could not be taken away fires on nothing, and `scan` still lists it.
        await Promise.allSettled(steps.map((step) => disarmStep(ports, step, signal)));
        return {
          ...(endMs !== undefined && { endMs, endResolutionMs: endMs - undoneMs }),
          ...(doubt !== undefined && { doubt }),
        };
      }),
    },
  });
}

/** Waits for a task in the place of one that is gone: the swarm restarts it in its own time, maybe elsewhere. */
async function successorOf(
  run: FaultRun,
  gone: FaultStep,
  ports: RunnerPorts,
  signal: AbortSignal,
): Promise<FaultStep> {
  for (;;) {
    const step = await ports.successor?.(run, gone, signal);
    if (step) return step;
    await ports.clock.sleep(successorPollMs, signal);
  }
}

/** With those that were followed: what the journal must know of. */
function withSteps(run: FaultRun, steps: readonly StepRun[]): FaultRun {
  return { ...run, steps: steps.map(({ step }) => step) };
}

/** A fault that is there before it was injected is somebody else's, or its check cannot tell. */
function refuseActive(steps: readonly StepRun[], looks: readonly (Look | undefined)[]): void {
  const index = looks.findIndex((look) => look?.verdict !== 'inactive');
  if (index < 0) return;
  const { step } = steps[index]!;
  throw new RefusedError(`${step.target}: before the fault its check says "${looks[index]?.verdict}"`);
}

function backoffMs(attempt: number): number {
  return Math.min(healBackoffMs.first * 2 ** (attempt - 1), healBackoffMs.most);
}

/** Write ahead: the record is on the disk before the phase does anything. */
async function enter(run: FaultRun, ports: RunnerPorts, phase: RunPhase): Promise<void> {
  await ports.journal.write({ schemaVersion: 1, ...run, phase, atMs: ports.clock.now() });
}

/** A stuck run is not closed: it stays visible, and the next `healUnfinished` tries again. */
async function close(run: FaultRun, ports: RunnerPorts, result: RunResult): Promise<RunResult> {
  const { outcome, message } = result;
  const stuck = outcome === 'Stuck';
  const record: RunRecord = {
    schemaVersion: 1,
    ...run,
    phase: stuck ? 'stuck' : 'healed',
    atMs: ports.clock.now(),
    ...(!stuck && { outcome }),
    ...(message !== undefined && { message }),
  };
  try {
    await ports.journal.write(record);
    return result;
  } catch (error) {
    // The run stays unfinished in the journal and is healed once more at the next start, which changes nothing.
    return {
      ...result,
      message: [message, `journal not closed: ${messageOf(error)}`].filter(Boolean).join('; '),
    };
  }
}

function runOf({
  phase: _phase,
  atMs: _atMs,
  outcome: _outcome,
  message: _message,
  ...rest
}: RunRecord): FaultRun {
  const { schemaVersion: _schemaVersion, ...run } = rest;
  return run;
}
