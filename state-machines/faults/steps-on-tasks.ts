import { z } from 'zod';
import {
  type FaultKind,
  type FaultStep,
  RefusedError,
  type Target,
  type TaskTarget,
  targetName,
} from '../contract.ts';

/**
 * Which processes inside the tasks' containers: those whose command line contains this text. Not a pattern, so that
 * nothing in it has a second meaning and none can be invalid.
 */
export const processField = z
  .string()
  .max(200)
  .regex(/^[!-~]([ -~]*[!-~])?$/, 'expected one line of printable ASCII without blanks at its ends')
  .default('CoarseGrainedExecutorBackend')
  .describe(
    "The processes whose command line (arguments joined by blanks) contains this text; Spark's executors when absent.",
  );

/** How common.sh's scripts are told of `processField`: an argument before the containers' ids. */
export function processArg(text: string): string {
  return `process=${text}`;
}

/** Tasks of one service on one node are one target, for they share its lock, claim and metrics. */
export interface TaskGroup {
  readonly node: string;
  readonly service: string;
  readonly target: string;
  readonly tasks: readonly TaskTarget[];
}

/** The tasks that a kind is aimed at, by target. Throws RefusedError for a target that is no task. */
export function taskGroups(
  { name }: Pick<FaultKind, 'name'>,
  targets: readonly Target[],
): readonly TaskGroup[] {
  const all = targets.map((target) => asTask(target, name));
  return [...new Set(all.map(targetName))].map((target) => {
    const tasks = all.filter((task) => targetName(task) === target);
    const { node, service } = tasks[0]!;
    return { node, service, target, tasks };
  });
}

/** One step per target, with `args` and then its containers' ids. Throws RefusedError for a target that is no task. */
export function stepsOnTasks(
  { name, mechanism }: Pick<FaultKind, 'name' | 'mechanism'>,
  targets: readonly Target[],
  args: readonly string[],
): readonly FaultStep[] {
  return taskGroups({ name }, targets).map(({ node, target, tasks }) => {
    const ids = tasks.map(({ containerId }) => containerId);
    return { node, target, mechanism, args: [...args, ...ids] };
  });
}

function asTask(target: Target, kind: string): TaskTarget {
  if (target.kind !== 'task')
    throw new RefusedError(`${kind} is aimed at tasks, not at ${targetName(target)}`);
  return target;
}
