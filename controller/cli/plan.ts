import { messageOf } from '../../provisioners/contract.ts';
import { type FaultRun, RefusedError } from '../../state-machines/contract.ts';
import { describePlan } from '../../state-machines/describe-plan.ts';
import type { ClusterPlan } from '../cluster/cluster-plan.ts';
import { formatPlan } from '../cluster/format-plan.ts';
import type { Operator } from '../operator.ts';
import { faultKindsByName } from '../resource-kinds.ts';
import { firstOfEach, planCampaign, titleOf } from '../schedule/plan-campaign.ts';
import { planningsOf, planRuns } from '../schedule/plan-run.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { answer, type CliContext, type ExitCode } from './cli-context.ts';
import { lookAround } from './look-around.ts';
import type { FileOptions } from './read-files.ts';
import type { ServeOptions } from './watch.ts';

/** What would happen to one resource. */
interface Preview {
  readonly key: string;
  readonly cluster?: ClusterPlan;
  /** All trials of a schedule, controls among them, in the order in which they will run. */
  readonly order?: readonly string[];
  /** The first trial of each fault: its targets are chosen anew when it starts, with the same seed. */
  readonly runs?: readonly FaultRun[];
  /** Faults that would not be injected as things are now, with every reason. */
  readonly refused?: readonly { readonly fault: string; readonly reasons: readonly string[] }[];
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
  const { seed, clusterRef } = resource.spec;
  const { scripts } = operator;
  const campaign = planCampaign(resource.spec, seed ?? 0);
  const order = campaign.map(titleOf);
  try {
    const cluster = operator.access(clusterRef.name);
    const first = firstOfEach(campaign);
    const planned = await Promise.allSettled(
      first.map(({ group, seed: drawnFrom }) => {
        const trial = { schedule: resource, group, cluster, scripts, kinds: faultKindsByName };
        return planRuns(planningsOf({ ...trial, runId: 'plan', seed: drawnFrom }), signal);
      }),
    );
    const refused = planned.flatMap((each, index) =>
      each.status === 'fulfilled' ? [] : [{ fault: titleOf(first[index]!), reasons: reasonsOf(each.reason) }],
    );
    return {
      ...{ key, order },
      runs: planned.flatMap((each) => (each.status === 'fulfilled' ? each.value : [])),
      ...(refused.length > 0 && { refused }),
      ...(seed === undefined && { message: 'no seed is given: order and choice of targets are an example' }),
    };
  } catch (error) {
    signal.throwIfAborted();
    return { key, order, message: `targets cannot be told now: ${messageOf(error)}` };
  }
}

/** Only a refusal is an answer: whatever else went wrong says nothing about the plan. */
function reasonsOf(error: unknown): readonly string[] {
  if (!(error instanceof RefusedError)) throw error;
  return error.reasons;
}

/** As people read it. */
export function formatPreview({ key, cluster, order = [], runs, refused, message }: Preview): string {
  const lines = [
    cluster ? formatPlan(key, cluster).trimEnd() : `${key}:`,
    ...(order.length > 1 ? [`${order.length} trials, in this order: ${order.join(', ')}`] : []),
    ...(runs ?? []).map(describePlan),
    ...(refused ?? []).flatMap(({ fault, reasons }) => [
      `${fault} would be refused:`,
      ...reasons.map((reason) => `  ${reason}`),
    ]),
    ...(message === undefined ? [] : [message]),
  ];
  return lines.join('\n');
}
