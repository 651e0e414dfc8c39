import type { ClockBound } from '../../state-machines/contract.ts';
import type { TrialResult } from '../../state-machines/run-trial.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { gatherInventory } from './gather-facts.ts';
import { type Bystanders, bystandersOf, contaminationOf, type Settings } from './judge-contamination.ts';

/** Gathers, around one trial, what its contamination is judged from. */
export interface TrialWitness {
  /** Looks at those that the fault does not aim at, and at the clocks; right before it. */
  look(signal: AbortSignal): Promise<void>;
  /** A reading of the observer's clock. */
  heard(bound: ClockBound): void;
  /** What governed detection right before the fault; undefined when nobody could be asked. */
  readonly settings: () => Settings | undefined;
  /** The clocks as they were then. */
  readonly clocks: () => readonly ClockBound[];
  /** Looks again once the watch is over, and says what speaks against the trial; never rejects. */
  testify(result: TrialResult, signal: AbortSignal): Promise<readonly string[]>;
}

export interface WitnessOptions {
  readonly cluster: Pick<
    ClusterAccess,
    'swarm' | 'workload' | 'interventions' | 'clocks' | 'settingsInForce'
  >;
  /** Of the campaign's first trial; absent for that one. */
  readonly campaignSettings?: Settings | undefined;
  /** Whose trial it is, as in claims. */
  readonly owner: string;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}

/** The time of the trial runs from here. Whoever cannot be asked bears no witness: a fault may have taken him. */
export function witnessTrial({
  cluster,
  campaignSettings,
  owner,
  wallMs,
  monotonicMs,
}: WitnessOptions): TrialWitness {
  const began = { wallMs: wallMs(), monotonicMs: monotonicMs() };
  const clocks: ClockBound[] = [];
  let before: Bystanders | undefined;
  let nodeClocks: readonly ClockBound[] = [];
  let settings: Settings | undefined;
  const bystanders = async (signal: AbortSignal) => {
    try {
      return bystandersOf(await gatherInventory(await cluster.swarm(signal), signal));
    } catch {
      return undefined;
    }
  };
  return {
    async look(signal) {
      [before, nodeClocks, settings] = await Promise.all([
        bystanders(signal),
        cluster.clocks(signal),
        cluster.settingsInForce(signal).catch(() => undefined),
      ]);
      clocks.push(...nodeClocks);
    },
    heard: (bound) => void clocks.push(bound),
    settings: () => settings,
    clocks: () => nodeClocks,
    async testify({ plan = [], followed = [], gateFromMs = began.wallMs }, signal) {
      const steps = plan.flatMap((each) => each.steps);
      // A trial that was judged before it was aborted stays judged.
      if (signal.aborted) return [];
      const [after, nodeClocksAfter] = await Promise.all([bystanders(signal), cluster.clocks(signal)]);
      await cluster.workload.clockBound(signal).then(
        (bound) => clocks.push(bound),
        () => undefined,
      );
      clocks.push(...nodeClocksAfter);
      return contaminationOf({
        targets: [...new Set([...steps.map(({ target }) => target), ...followed])],
        ...(before && { before }),
        ...(after && { after }),
        ...{ clocks, settings: { campaign: campaignSettings, trial: settings } },
        ...{ interventions: cluster.interventions.since(gateFromMs, owner) },
        elapsed: { wallMs: wallMs() - began.wallMs, monotonicMs: monotonicMs() - began.monotonicMs },
      });
    },
  };
}
