import { assign, fromPromise, setup } from 'xstate';
import { messageOf } from '../provisioners/contract.ts';
import type { Outcome, RunInstants } from './contract.ts';

/** What a run knows of itself; JSON only. */
export interface FaultContext {
  readonly holdMs: number;
  readonly maxHeals: number;
  readonly resumed: boolean;
  /** From here on something may be broken: only a verified heal ends the run. */
  readonly injected: boolean;
  /** How it will end if the heal is verified. */
  readonly outcome: Outcome;
  readonly message?: string;
  readonly instants: RunInstants;
  /** Heals that failed so far, and why the last one did. */
  readonly attempt: number;
  readonly healFailure?: string;
}

export interface FaultInput {
  readonly holdMs: number;
  /** Heals that are tried before the run is called stuck. */
  readonly maxHeals: number;
  /** Found in the journal: nothing is left to do but to heal. `injected` false: it had not come that far. */
  readonly resumed?: { readonly injected: boolean };
}

/** Seen by the independent check. */
export type Effect = Required<Pick<RunInstants, 'cmdMs' | 'effMs' | 'firstEffMs' | 'effResolutionMs'>>;

/** Seen to be undone. */
type Gone = Pick<RunInstants, 'endMs' | 'endResolutionMs'> & { readonly doubt?: string };

/** Where a run is, as told to `onState` of the runner's ports. */
export type FaultState = 'prepare' | 'inject' | 'hold' | 'heal' | 'verify' | 'healed' | 'stuck';

const unbound = <Output, Input = undefined>() =>
  fromPromise<Output, Input>(() => Promise.reject(new Error('no implementation was provided')));

/**
 * One fault, from nothing to healed: prepare, inject, hold, heal, verify. Every way out of inject and hold leads
 * through heal and verify, and nothing interrupts those two. An independent root actor per run.
 */
export const faultMachine = setup({
  types: {
    context: {} as FaultContext,
    input: {} as FaultInput,
    events: {} as { type: 'ABORT'; reason: string },
    output: {} as Pick<FaultContext, 'outcome' | 'instants' | 'message'>,
  },
  actors: {
    prepare: unbound<void>(),
    inject: unbound<Effect>(),
    /** Gives what is to be told of it. */
    hold: unbound<string | undefined, { untilMs: number }>(),
    heal: unbound<void, { attempt: number; injected: boolean; outcome: Outcome }>(),
    /** Gives also why it was never in effect, where only now that can be told. */
    verify: unbound<Gone, { injected: boolean; outcome: Outcome }>(),
  },
  guards: {
    isResumed: ({ context }) => context.resumed,
    isExhausted: ({ context }) => context.attempt + 1 >= context.maxHeals,
  },
  actions: {
    noteAbort: assign(({ event }) => ({
      outcome: 'Aborted' as const,
      ...(event.type === 'ABORT' && { message: event.reason }),
    })),
    noteFailure: assign((_, { error, outcome }: { error: unknown; outcome: Outcome }) => ({
      outcome,
      message: messageOf(error),
    })),
    noteHealFailure: assign(({ context }, { error }: { error: unknown }) => ({
      attempt: context.attempt + 1,
      healFailure: messageOf(error),
    })),
    noteStuck: assign({ outcome: 'Stuck' }),
  },
}).createMachine({
  id: 'fault',
  context: ({ input }) => ({
    holdMs: input.holdMs,
    maxHeals: input.maxHeals,
    resumed: input.resumed !== undefined,
    injected: input.resumed?.injected ?? false,
    outcome: input.resumed ? 'Aborted' : 'Healed',
    instants: {},
    attempt: 0,
  }),
  // Of a run that went wrong, how healing went is told as well, also when it was healed in the end.
  output: ({ context: { outcome, instants, message, healFailure } }) => {
    const heal = outcome === 'Healed' ? undefined : healFailure;
    const told = [message, heal].filter((text) => text !== undefined);
    return { outcome, instants, ...(told.length > 0 && { message: told.join('; healing: ') }) };
  },
  initial: 'start',
  states: {
    start: { always: [{ guard: 'isResumed', target: 'heal' }, { target: 'prepare' }] },
    prepare: {
      invoke: {
        src: 'prepare',
        onDone: 'inject',
        onError: {
          target: 'heal',
          // Without an inject nothing was broken, whatever the reason.
          actions: {
            type: 'noteFailure',
            params: ({ event: { error } }) => ({ error, outcome: 'Refused' }),
          },
        },
      },
      on: { ABORT: { target: 'heal', actions: 'noteAbort' } },
    },
    inject: {
      entry: assign({ injected: true }),
      invoke: {
        src: 'inject',
        onDone: { target: 'hold', actions: assign({ instants: ({ event }) => event.output }) },
        onError: {
          target: 'heal',
          actions: {
            type: 'noteFailure',
            params: ({ event: { error } }) => ({ error, outcome: isRefusal(error) ? 'Refused' : 'Unknown' }),
          },
        },
      },
      on: { ABORT: { target: 'heal', actions: 'noteAbort' } },
    },
    hold: {
      invoke: {
        src: 'hold',
        // An absolute deadline, counted from the last target in effect.
        input: ({ context }) => ({ untilMs: (context.instants.effMs ?? 0) + context.holdMs }),
        onDone: {
          target: 'heal',
          actions: assign(({ event: { output } }) => (output === undefined ? {} : { message: output })),
        },
        onError: {
          target: 'heal',
          // It was in force: whoever refuses now, as a successor may, refuses no run.
          actions: {
            type: 'noteFailure',
            params: ({ event: { error } }) => ({ error, outcome: 'Unknown' }),
          },
        },
      },
      on: { ABORT: { target: 'heal', actions: 'noteAbort' } },
    },
    heal: {
      invoke: {
        src: 'heal',
        input: ({ context: { attempt, injected, outcome } }) => ({ attempt, injected, outcome }),
        onDone: 'verify',
        onError: [
          {
            guard: 'isExhausted',
            target: 'stuck',
            actions: { type: 'noteHealFailure', params: ({ event }) => event },
          },
          {
            target: 'heal',
            reenter: true,
            actions: { type: 'noteHealFailure', params: ({ event }) => event },
          },
        ],
      },
    },
    verify: {
      invoke: {
        src: 'verify',
        input: ({ context: { injected, outcome } }) => ({ injected, outcome }),
        onDone: {
          target: 'healed',
          actions: assign(({ context, event: { output } }) => {
            const { doubt, ...end } = output;
            const instants = { ...context.instants, ...end };
            return doubt === undefined
              ? { instants }
              : { instants, outcome: 'Unknown' as const, message: doubt };
          }),
        },
        onError: [
          {
            guard: 'isExhausted',
            target: 'stuck',
            actions: { type: 'noteHealFailure', params: ({ event }) => event },
          },
          { target: 'heal', actions: { type: 'noteHealFailure', params: ({ event }) => event } },
        ],
      },
    },
    healed: { type: 'final' },
    stuck: { type: 'final', entry: 'noteStuck' },
  },
});

/** By its code, not its class: the error may have crossed a JSON boundary. */
function isRefusal(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'FAULT_REFUSED';
}
