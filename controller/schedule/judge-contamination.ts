import type { ClockBound } from '../../state-machines/contract.ts';
import { isMeasuring } from './guard-run.ts';
import type { Intervention } from './interventions.ts';
import type { Inventory } from './select-targets.ts';

/** What must not change by itself while a trial lasts. */
export interface Bystanders {
  /** Nodes that the swarm calls ready. */
  readonly ready: readonly string[];
  /** Tasks of the services that produce and judge the measurement: whoever restarts has another id. */
  readonly measuring: readonly { readonly service: string; readonly node: string; readonly taskId: string }[];
}

/** What happened around one trial, beside what its rows tell. */
export interface TrialEvidence {
  /** What the trial itself was aimed at: `node4`, `streaming_kafka`, `node4/streaming_kafka`. */
  readonly targets: readonly string[];
  /** Right before the fault, and when its watch had ended; absent when nobody could be asked. */
  readonly before?: Bystanders;
  readonly after?: Bystanders;
  /** By others, from the beginning of the gate on. */
  readonly interventions: readonly Intervention[];
  /** What this machine's clock, and one that nobody can set, say of the length of the trial. */
  readonly elapsed: { readonly wallMs: number; readonly monotonicMs: number };
  /** Clocks of nodes against ours, before and after, in the order in which they were read. */
  readonly clocks: readonly ClockBound[];
  /** What governs detection: in the first trial, and now; absent when nobody could be asked. */
  readonly settings: { readonly campaign?: Settings | undefined; readonly trial?: Settings | undefined };
}

/** What governs detection and recovery, by name. */
export type Settings = Readonly<Record<string, string>>;

/** Clocks are read one after another. */
const readingMs = 100;
/** What adjtimex(2) lets a clock be slewed at most: 500 ppm. */
const maxSlew = 500e-6;

/**
 * Why a trial says nothing about its fault, by rule and never by hand, one sentence each; empty when nothing speaks
 * against it. What the targets themselves and their nodes went through is the fault's own doing.
 */
export function contaminationOf(evidence: TrialEvidence): readonly string[] {
  const { interventions } = evidence;
  return [
    ...new Set([
      ...interventions.map(({ by, what }) => `${by} changed the cluster: ${what}`),
      ...bystandersHurt(evidence),
      ...clockSteps(evidence),
      ...settingsChanged(evidence),
    ]),
  ];
}

function settingsChanged({ settings: { campaign, trial } }: TrialEvidence): readonly string[] {
  if (!campaign || !trial) return [];
  const names = new Set([...Object.keys(campaign), ...Object.keys(trial)]);
  return [...names]
    .filter((name) => campaign[name] !== trial[name])
    .map((name) => `${name} is not what it was at the beginning of the campaign`);
}

function bystandersHurt({ targets, before, after }: TrialEvidence): readonly string[] {
  if (!before || !after) return [];
  const down = before.ready.filter((node) => !after.ready.includes(node) && !isHit(node, targets));
  const ended = before.measuring.filter(
    ({ service, node, taskId }) =>
      !after.measuring.some((task) => task.taskId === taskId) &&
      // A task that shares its node with a target is no target.
      ![service, node, `${node}/${service}`].some((name) => targets.includes(name)),
  );
  return [
    ...down.map((node) => `${node} is not ready any more, and was no target`),
    ...ended.map(({ service }) => `a task of ${service}, on which the measurement depends, ended`),
  ];
}

/** Tolerances: the bounds of what was read, and what two clocks that are slewed can drift apart. */
function clockSteps({ targets, elapsed, clocks }: TrialEvidence): readonly string[] {
  const { wallMs, monotonicMs } = elapsed;
  const stepMs = Math.round(wallMs - monotonicMs);
  const isStepped = Math.abs(stepMs) > readingMs + maxSlew * monotonicMs;
  const bystanders = clocks.filter(({ node }) => !isHit(node, targets));
  const moved = [...new Set(bystanders.map(({ node }) => node))].flatMap((name) => {
    const readings = bystanders.filter(({ node }) => node === name);
    const [first, last] = [readings[0]!, readings.at(-1)!];
    const offsetMs = last.offsetMs - first.offsetMs;
    const allowedMs = first.boundMs + last.boundMs + readingMs + 2 * maxSlew * monotonicMs;
    const isMoved = Math.abs(offsetMs) > allowedMs;
    return isMoved
      ? [`the clock of ${name} moved by ${Math.round(offsetMs)} ms against the controller's`]
      : [];
  });
  return [...(isStepped ? [`the clock of the controller was set by ${stepMs} ms`] : []), ...moved];
}

/** The node is a target, or a task on it is. */
function isHit(node: string, targets: readonly string[]): boolean {
  return targets.some((target) => target.split('/').includes(node));
}

/** What of an inventory must not change by itself. */
export function bystandersOf({ nodes, services }: Inventory): Bystanders {
  return {
    ready: nodes.filter(({ ready }) => ready).map(({ name }) => name),
    measuring: services
      .filter(({ name }) => isMeasuring(name))
      .flatMap(({ name, tasks }) => tasks.map(({ node, taskId }) => ({ service: name, node, taskId }))),
  };
}
