import { ExecError, messageOf } from '../provisioners/contract.ts';
import { type FaultStep, RefusedError } from './contract.ts';
import {
  goneContainers,
  type Injection,
  injectStep,
  type Look,
  lookAt,
  lookFromWitness,
  type StepPorts,
  type StepRun,
  throwSwitch,
} from './dead-man/step-actions.ts';
import type { Effect } from './fault-machine.ts';

/** How long a fault may take to show its effect: Docker lets a task end within 10 s, and then some. */
const usualEffectLimitMs = 20_000;
const effectPollMs = 100;
/** How long an undone fault may take to be seen gone before the undo is run again. */
const goneLimitMs = 5_000;
const gonePollMs = 250;
/** How often a held fault is looked at, and how soon again when it was not seen. */
const driftPollMs = 5_000;
const driftRetryMs = 1_000;

/** A positive look, and the earliest instant that the last negative one does not rule out. */
interface Sighting {
  readonly effMs: number;
  readonly notBeforeMs: number;
}

interface Watch {
  readonly step: FaultStep;
  readonly notBeforeMs: number;
  readonly startMs: number;
}

/**
 * Injects on all targets in parallel and resolves when each is seen in effect; the last one gives `effMs`. Rejects with
 * RefusedError only when no target was hurt.
 */
export async function injectAll(
  steps: readonly StepRun[],
  ports: StepPorts,
  signal: AbortSignal,
): Promise<Effect> {
  const cmdMs = ports.clock.now();
  const lonely = steps.filter(isSeenByWitnessAlone);
  const heard = steps.filter((run) => !isSeenByWitnessAlone(run));
  const groups = [heard, lonely].filter((group) => group.length > 0);
  const sightings = await all(groups, (group) =>
    group === heard ? injectHeard(heard, ports, signal) : injectAllUnheard(lonely, ports, signal),
  );
  const seen = sightings.flat();
  const last = seen.reduce((latest, next) => (next.effMs > latest.effMs ? next : latest));
  const firstEffMs = Math.min(...seen.map(({ effMs }) => effMs));
  return { cmdMs, effMs: last.effMs, firstEffMs, effResolutionMs: last.effMs - last.notBeforeMs };
}

/** How long the effect of a step may take to show once it is injected. */
export function effectLimitOf({ effectLimitMs = usualEffectLimitMs }: FaultStep): number {
  return effectLimitMs;
}

/** Whether nobody can ask the victim itself as long as the fault lasts. */
export function isSeenByWitnessAlone({ step }: StepRun): boolean {
  return step.witness?.alone === true;
}

async function injectHeard(
  steps: readonly StepRun[],
  ports: StepPorts,
  signal: AbortSignal,
): Promise<readonly Sighting[]> {
  const injected = await all(steps, (step) => injectStep(ports, step, signal));
  const startMs = ports.clock.now();
  return all(steps, async (run, index) => {
    const { notBeforeMs, look } = injected[index]!;
    const watch = { step: run.step, notBeforeMs, startMs };
    const own = await awaitActive(look, () => lookAt(ports, run, signal), watch, ports, signal);
    const fromPeer = () => lookFromWitness(ports, run, signal);
    const peerLook = await fromPeer();
    if (!peerLook) return own;
    const seen = await awaitActive(
      peerLook,
      async () => (await fromPeer()) ?? peerLook,
      watch,
      ports,
      signal,
    );
    return seen.effMs > own.effMs ? seen : own;
  });
}

/**
 * Switches are thrown when all have answered: one may take others of the run away, who could not be told any more what
 * they have to do.
 */
async function injectAllUnheard(
  runs: readonly StepRun[],
  ports: StepPorts,
  signal: AbortSignal,
): Promise<readonly Sighting[]> {
  const before: Promise<Injection>[] = [];
  const inject = async (run: StepRun, each: AbortSignal): Promise<Injection> => {
    const injection = injectStep(ports, run, each);
    if (!run.step.switch) return injection;
    before.push(injection);
    const answer = await injection;
    await Promise.all(before); // all have begun at the same time
    await throwSwitch(ports, run, answer.dueMs, each);
    return answer;
  };
  return all(runs, (run) => injectUnheard(run, (each) => inject(run, each), ports, signal));
}

/**
 * The victim's answer may come late or never: the witness is asked meanwhile, and only a bad answer counts. Where nothing
 * happens before it, or it is the controller who throws a switch, the witness counts only then: it takes a victim that
 * is merely busy for one that is gone.
 */
async function injectUnheard(
  run: StepRun,
  inject: (signal: AbortSignal) => Promise<Injection>,
  ports: StepPorts,
  signal: AbortSignal,
): Promise<Sighting> {
  const { clock } = ports;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const { switch: ofSwitch, witness } = run.step;
  const orderedMs = clock.now();
  const injected = inject(either);
  const badAnswer = new Promise<never>((_resolve, reject) => {
    injected.catch((error: unknown) => {
      if (ofSwitch || !(error instanceof ExecError)) reject(error);
    });
  });
  const seen = async () => {
    const answered = injected.catch(() => ({ notBeforeMs: orderedMs })); // a bad answer ends the race
    const { notBeforeMs } = witness?.afterAnswer ? await answered : { notBeforeMs: orderedMs };
    const startMs = clock.now();
    const fromPeer = async (): Promise<Look> =>
      (await lookFromWitness(ports, run, either).catch(() => undefined)) ?? {
        ...{ verdict: 'unknown', earliestMs: startMs, latestMs: clock.now() },
      };
    const watch = { step: run.step, notBeforeMs, startMs };
    return awaitActive(await fromPeer(), fromPeer, watch, ports, either);
  };
  try {
    return await Promise.race([seen(), badAnswer]);
  } finally {
    over.abort();
  }
}

async function awaitActive(
  first: Look,
  lookAgain: () => Promise<Look>,
  { step, notBeforeMs, startMs }: Watch,
  { clock }: StepPorts,
  signal: AbortSignal,
): Promise<Sighting> {
  const limitMs = effectLimitOf(step);
  let negativeMs = notBeforeMs;
  for (let look = first; ; look = await lookAgain()) {
    if (look.verdict === 'active') return { effMs: look.latestMs, notBeforeMs: negativeMs };
    negativeMs = Math.max(negativeMs, look.earliestMs);
    if (clock.now() - startMs >= limitMs) {
      throw new Error(
        `${step.target}: injected, but after ${limitMs / 1000} s its check says "${look.verdict}"`,
      );
    }
    await clock.sleep(effectPollMs, signal);
  }
}

/** What becomes of a target whose containers are gone while the fault is held. */
export interface Hold {
  readonly untilMs: number;
  /** Gives the step on what has come in their place, in effect; rejects when that cannot be had. Absent: it is over. */
  readonly follow?: (run: StepRun, signal: AbortSignal) => Promise<StepRun>;
}

/**
 * Waits until the absolute deadline, or until every target is over; resolves with what is to be told. Rejects when a
 * target is seen, twice in a row, to have lost the effect.
 */
export async function holdUntil(
  { untilMs, follow }: Hold,
  steps: readonly StepRun[],
  ports: StepPorts,
  signal: AbortSignal,
): Promise<string | undefined> {
  const leftMs = untilMs - ports.clock.now();
  if (leftMs <= 0) return undefined;
  const told: string[] = [];
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const now = () => new Date(ports.clock.now()).toISOString();
  const watch = async (run: StepRun): Promise<void> => {
    const { target } = run.step;
    const tellOf = (id: string) =>
      told.push(
        `container ${id.slice(0, 12)} of ${target} is gone since ${now()}: the fault was over for it`,
      );
    await watchDrift(run, tellOf, ports, either);
    const gone = `${target} is another container since ${now()}`;
    const index = told.push(`${gone}: the fault was over for it`) - 1;
    if (!follow) return;
    const next = await follow(run, either);
    told[index] = `${gone}: it is followed`;
    await watch(next);
  };
  const watches = steps.map(watch);
  try {
    await Promise.race([ports.clock.sleep(leftMs, either), Promise.all(watches)]);
  } finally {
    over.abort();
    void Promise.allSettled(watches); // a look that is under way must not delay the heal
  }
  return told.length === 0 ? undefined : told.join('; ');
}

/** Resolves when all containers of a step are gone, telling of the first ones; rejects when it has lost the effect. */
async function watchDrift(
  run: StepRun,
  tellOf: (container: string) => void,
  ports: StepPorts,
  signal: AbortSignal,
): Promise<void> {
  const { target, containers = [] } = run.step;
  const left = new Set(containers);
  for (let missed = 0; ; ) {
    await ports.clock.sleep(missed > 0 ? driftRetryMs : driftPollMs, signal);
    const ask = isSeenByWitnessAlone(run) ? lookFromWitness : lookAt;
    // A node that cannot be asked says nothing about the fault.
    const asked = Promise.all([ask(ports, run, signal), goneContainers(ports, run, signal)]);
    const [look, gone] = await asked.catch(() => []);
    if (!look) continue;
    if (gone.length > 0 && gone.length === containers.length) return;
    for (const id of gone) if (left.delete(id)) tellOf(id);
    missed = look.verdict === 'active' ? 0 : missed + 1;
    if (missed > 1) throw new Error(`${target}: lost the effect during the hold ("${look.verdict}")`);
  }
}

/**
 * Why those whom only their witness missed were not hurt, as they say themselves once they are back; undefined when all
 * were. Only for what is over at once: its check still says `active` where it has happened.
 */
export async function doubtOf(
  steps: readonly StepRun[],
  ports: StepPorts,
  signal: AbortSignal,
): Promise<string | undefined> {
  const lonely = steps.filter(isSeenByWitnessAlone);
  const looks = await all(lonely, (run) => lookAt(ports, run, signal));
  const unhurt = lonely.filter((_run, index) => looks[index]!.verdict !== 'active');
  if (unhurt.length === 0) return undefined;
  const names = unhurt.map(({ step }) => step.target).join(', ');
  return `${names}: missed by a witness, but its own check says that it did not happen`;
}

/** Resolves with the instant at which every target was seen free of the fault; rejects when one stays otherwise. */
export async function awaitGone(
  steps: readonly StepRun[],
  ports: StepPorts,
  signal: AbortSignal,
): Promise<number> {
  const deadlineMs = ports.clock.now() + goneLimitMs;
  const seen = await all(steps, (step) => awaitInactive(step, deadlineMs, ports, signal));
  return Math.max(...seen);
}

async function awaitInactive(
  run: StepRun,
  deadlineMs: number,
  ports: StepPorts,
  signal: AbortSignal,
): Promise<number> {
  for (;;) {
    // The witness can only object: whether it is there to be asked is not the target's concern.
    const [own, peer] = await Promise.all([
      lookAt(ports, run, signal),
      lookFromWitness(ports, run, signal).catch(() => undefined),
    ]);
    if (own.verdict === 'inactive' && peer?.verdict !== 'active') return own.latestMs;
    if (ports.clock.now() >= deadlineMs) {
      const objection =
        own.verdict === 'inactive' ? 'a peer still sees it' : `its check says "${own.verdict}"`;
      throw new Error(`${run.step.target}: undone, but ${objection}`);
    }
    await ports.clock.sleep(gonePollMs, signal);
  }
}

/** Runs `act` on all in parallel and waits for all; a RefusedError only when every one refused. */
export async function all<T, R>(
  items: readonly T[],
  act: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const settled = await Promise.allSettled(items.map(act));
  const errors = settled.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  if (errors.length === 0) return settled.map((result) => (result as PromiseFulfilledResult<R>).value);
  const refusals = errors.filter((error) => error instanceof RefusedError);
  if (refusals.length === items.length) throw new RefusedError(refusals.flatMap(({ reasons }) => reasons));
  throw new AggregateError(errors, errors.map(messageOf).join('; '));
}
