import type { Test } from 'tap';
import type { Facts, FaultKind, FaultStep, Target, Verdict3 } from '../../state-machines/contract.ts';
import {
  armStep,
  disarmStep,
  healStep,
  injectStep,
  lookAt,
  lookFromWitness,
  type StepPorts,
  type StepRun,
  throwSwitch,
} from '../../state-machines/dead-man/step-actions.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';
import { scanOrphans } from '../../state-machines/scan-orphans.ts';

/** Faults taken step by step, past the runner, on any machines that can be reached. */
export interface FaultSteps {
  /** The first step of a kind on one target, planned for what is there now, and armed. */
  arm(fault: FaultToArm): Promise<LabStep>;
  /** One that is armed and injected, and that nobody will ask about again; closed when the test is over. */
  abandon(t: Pick<Test, 'equal' | 'teardown'>, fault: FaultToAbandon): Promise<LabStep>;
}

interface FaultToArm {
  readonly kind: string;
  readonly params?: object;
  readonly target: Target;
  /** Instead of those that the kind plans. */
  readonly args?: readonly string[];
  /** Of its directory on the node; of its kind and a number when nothing is said. */
  readonly name?: string;
  /** A minute when nothing is said. */
  readonly fuseMs?: number;
  /** For a victim that has to undo it by itself; as long as the fuse when nothing is said. */
  readonly holdMs?: number;
}

interface FaultToAbandon extends FaultToArm {
  /** What the look of its inject has to see; anything when nothing is said. */
  readonly sees?: Verdict3;
}

/** An armed step, in the hands of a test. */
export interface LabStep extends StepRun {
  /** Resolves with what its look saw. */
  inject(): Promise<Verdict3>;
  /** What its check sees now, on the node. */
  looks(): Promise<Verdict3>;
  /** The same from its witness; undefined without one. */
  looksFromWitness(): Promise<Verdict3 | undefined>;
  heal(): Promise<void>;
  disarm(): Promise<void>;
  /** Heals and disarms. */
  close(): Promise<void>;
  /** Whether the node itself lists it as healed; false while the node cannot be asked. */
  isHealed(): Promise<boolean>;
}

/** Binds them to machines; all of theirs ends with the signal. */
export function faultSteps({
  ports,
  facts,
  signal,
}: {
  readonly ports: StepPorts;
  readonly facts: (targets: readonly Target[]) => Promise<Facts>;
  readonly signal: AbortSignal;
}): FaultSteps {
  let runs = 0;
  const arm = async ({ kind: kindName, params = {}, target, args, ...asked }: FaultToArm) => {
    const { needs, plan, params: schema } = faultKindOf(kindName);
    const [step] = plan(schema.parse(params), await facts([target])) as [FaultStep];
    runs += 1;
    const { name = `${kindName}-${runs}.0`, fuseMs = 60_000, holdMs = fuseMs } = asked;
    const run = { name, step: { ...step, ...(args && { args }) } };
    await armStep(ports, run, { fuseMs, holdMs, needs }, signal);
    return labStep(run, ports, signal);
  };
  return {
    arm,
    async abandon(t, { sees, ...fault }) {
      const run = await arm(fault);
      t.teardown(run.close);
      const verdict = await run.inject();
      if (sees) t.equal(verdict, sees, `${fault.kind} is ${sees}`);
      return run;
    },
  };
}

function labStep(run: StepRun, ports: StepPorts, signal: AbortSignal): LabStep {
  const heal = () => healStep(ports, run, signal);
  const disarm = () => disarmStep(ports, run, signal);
  return {
    ...run,
    async inject() {
      const { look, dueMs } = await injectStep(ports, run, signal);
      await throwSwitch(ports, run, dueMs, signal);
      return look.verdict;
    },
    looks: async () => (await lookAt(ports, run, signal)).verdict,
    looksFromWitness: async () => (await lookFromWitness(ports, run, signal))?.verdict,
    ...{ heal, disarm },
    async close() {
      await heal();
      await disarm();
    },
    async isHealed() {
      const node = await ports.nodes(run.step.node);
      const found = await scanOrphans(node, ports.scripts, signal).catch(() => []);
      return found.some((each) => each.kind === 'run' && each.run === run.name && each.state === 'healed');
    },
  };
}

/** Throws when the catalogue has none of that name. */
export function faultKindOf(name: string): FaultKind {
  const kind = faultKinds.find((each) => each.name === name);
  if (!kind) throw new Error(`there is no fault kind ${name}`);
  return kind;
}
