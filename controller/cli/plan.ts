import { faultGroups } from '../../crds/fault-schedule.ts';
import type { FaultRun } from '../../state-machines/contract.ts';
import { describePlan } from '../../state-machines/describe-plan.ts';
import type { ClusterPlan } from '../cluster/cluster-plan.ts';
import { formatPlan } from '../cluster/format-plan.ts';
import type { Operator } from '../operator.ts';
import { faultKindsByName } from '../resource-kinds.ts';
import { planningsOf, planRuns } from '../schedule/plan-run.ts';
import { trialSeed } from '../schedule/to-trial-record.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { answer, type CliContext, type ExitCode } from './cli-context.ts';
import { lookAround } from './look-around.ts';
import type { FileOptions } from './read-files.ts';
import type { ServeOptions } from './watch.ts';

/** What would happen to one resource. */
interface Preview {
  readonly key: string;
  readonly cluster?: ClusterPlan;
  /** The first trial of each fault: its targets are chosen anew when it starts, with the same seed. */
  readonly runs?: readonly FaultRun[];
  /** Why there is no more to say. */
  readonly message?: string;
}

/** `controller plan -f ...`: prints what would change, changes nothing, and needs no lock. */
export function plan(context: CliContext, serve: ServeOptions, files: FileOptions): Promise<ExitCode> {
  const { signal } = context;
  return lookAround(context, serve, files, async (operator, resources) => {
    const previews = await Promise.all(resources.map((stored) => preview(stored, operator, signal)));
    answer(context, previews, (all) => all.map(formatPreview).join('\n'));
    return 0 as const;
  });
}

async function preview(stored: StoredResource, operator: Operator, signal: AbortSignal): Promise<Preview> {
  const { key, resource } = stored;
  if (resource?.kind === 'ClusterSpec') return { key, cluster: await operator.clusters.plan(stored, signal) };
  if (resource?.kind !== 'FaultSchedule') return { key, message: 'its manifest was never accepted' };
  const cluster = operator.access(resource.spec.clusterRef.name);
  try {
    const trials = faultGroups(resource.spec).map((group, index) => {
      const seed = trialSeed(resource.spec.seed ?? 0, index + 1);
      const trial = { schedule: resource, group, cluster, kinds: faultKindsByName, runId: 'plan', seed };
      return planRuns(planningsOf(trial), signal);
    });
    const runs = (await Promise.all(trials)).flat();
    const message =
      resource.spec.seed === undefined ? 'no seed is given: the choice of targets is an example' : undefined;
    return { key, runs, ...(message !== undefined && { message }) };
  } catch (error) {
    signal.throwIfAborted();
    return {
      key,
      message: `targets cannot be told now: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

function formatPreview({ key, cluster, runs, message }: Preview): string {
  const lines = [
    ...(cluster
      ? [cluster.steps.length === 0 ? `${key}: nothing to do` : formatPlan(key, cluster).trimEnd()]
      : [`${key}:`]),
    ...(runs ?? []).map(describePlan),
    ...(message === undefined ? [] : [message]),
  ];
  return lines.join('\n');
}
