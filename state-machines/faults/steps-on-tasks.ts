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

/**
 * One step per service and node, with `args` and then its containers' ids: tasks of one service on one node are one
 * target, for they share its lock, claim and metrics. Throws RefusedError for a target that is no task.
 */
export function stepsOnTasks(
  { name, mechanism }: Pick<FaultKind, 'name' | 'mechanism'>,
  targets: readonly Target[],
  args: readonly string[],
): readonly FaultStep[] {
  const tasks = targets.map((target) => asTask(target, name));
  return [...new Set(tasks.map(nameOf))].map((target) => {
    const own = tasks.filter((task) => nameOf(task) === target);
    const ids = own.map(({ containerId }) => containerId);
    return { node: own[0]!.node, target, mechanism, args: [...args, ...ids] };
  });
}

function asTask(target: Target, kind: string): TaskTarget {
  if (target.kind !== 'task')
    throw new RefusedError(`${kind} is aimed at tasks, not at ${targetName(target)}`);
  return target;
}

function nameOf({ node, service }: TaskTarget): string {
  return `${node}/${service}`;
}
