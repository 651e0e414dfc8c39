import type { Difference } from '../swarm/diff-trees.ts';
import { tellDifference } from '../swarm/tell-difference.ts';
import type { ClusterPlan, Finding, Step } from './cluster-plan.ts';

/** A plan for people and for golden files: one line a step, in order, then what stands in the way. */
export function formatPlan(cluster: string, plan: ClusterPlan): string {
  const width = Math.max(0, ...plan.steps.map(({ kind }) => kind.length));
  const lines = [
    `${cluster}: ${plan.steps.length === 0 ? 'nothing to do' : countOf(plan.steps.length, 'step')}`,
    ...plan.steps.flatMap((each) => formatStep(each, width)),
    ...plan.held.map(({ target, owner }) => `  = held ${target} by ${owner}`),
    ...formatFindings('... waiting', plan.waiting),
    ...formatFindings('! problem', plan.problems),
    ...formatFindings('i note', plan.notes),
    ...formatHours(plan.steps),
  ];
  return `${lines.join('\n')}\n`;
}

function formatStep(step: Step, width: number): readonly string[] {
  const line = `  ${signOf(step)} ${step.kind.padEnd(width)}  ${step.target}: ${reasonOf(step)}`;
  if (step.kind !== 'update-service') return [line];
  return [line, ...step.differences.map(formatDifference)];
}

function reasonOf(step: Step): string {
  if (step.kind === 'update-service') return `${countOf(step.differences.length, 'difference')}`;
  if (step.kind === 'deliver-images') return `${step.images.join(', ')}: ${step.reason}`;
  if (step.kind === 'create-machine')
    return [step.spec.role, step.shape, step.reason].filter(Boolean).join(', ');
  if (step.kind === 'join-swarm') return `as a ${step.role}: ${step.reason}`;
  return step.reason;
}

/** What the machines that would be made cost in time; what an hour of each costs its provisioner's price list tells. */
function formatHours(steps: readonly Step[]): readonly string[] {
  const shapes = steps.flatMap((each) => (each.kind === 'create-machine' ? (each.shape ?? []) : []));
  if (shapes.length === 0) return [];
  const counts = [...new Set(shapes)].map(
    (shape) => `${shapes.filter((each) => each === shape).length} x ${shape}`,
  );
  return [
    `  i ${countOf(shapes.length, 'machine-hour')} each hour, ${24 * shapes.length} a day: ${counts.join('; ')}`,
  ];
}

function signOf({ kind }: Step): string {
  if (/^(create|init|join)/.test(kind)) return '+';
  if (/^(remove|destroy|leave)/.test(kind)) return '-';
  return '~';
}

function formatFindings(sign: string, findings: readonly Finding[]): readonly string[] {
  return findings.map(({ target, reason, message }) => `  ${sign} ${reason} ${target}: ${message}`);
}

const countOf = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

function formatDifference(difference: Difference): string {
  const { want = 'nothing', have = 'nothing' } = tellDifference(difference);
  return `      ${difference.path}: ${have} -> ${want}`;
}
