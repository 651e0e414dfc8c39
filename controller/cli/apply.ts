import type { Operator } from '../operator.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition } from '../status/conditions.ts';
import { awaitEnds, awaitResources, exitCodeOf, leftToLeader, type ResourceEnd } from './await-resources.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { type FileOptions, readFiles } from './read-files.ts';
import { type ServeOptions, workInOperator } from './watch.ts';

/** `controller apply -f ... --wait`: runs the operator until the named clusters are Ready and schedules Complete. */
export async function apply(context: CliContext, serve: ServeOptions, files: FileOptions): Promise<ExitCode> {
  const ends = await workInOperator(context, serve, 'apply', async (operator, signal) => {
    const resources = await readFiles(operator, files, signal);
    return awaitResources(resources, operator, context.note, signal);
  });
  return report(context, ends);
}

/** `controller delete -f ... --wait`: destroys what the named manifests made. */
export async function remove(
  context: CliContext,
  serve: ServeOptions,
  files: FileOptions,
): Promise<ExitCode> {
  const ends = await workInOperator(context, serve, 'delete', async (operator, signal) => {
    const resources = await readFiles(operator, { ...files, forDeletion: true }, signal);
    return awaitEnds(resources, (resource) => lookAtDeletion(resource, operator), context.note, signal);
  });
  return report(context, ends);
}

async function lookAtDeletion(
  { key, kind, name }: StoredResource,
  { acting, store, statuses }: Operator,
): Promise<ResourceEnd> {
  if (store.get(key) === undefined) return { key, state: 'done', message: 'deleted' };
  const isCluster = kind === 'ClusterSpec';
  const { status } = await (isCluster ? statuses.clusters : statuses.schedules).read(name);
  const { message } = findCondition(status?.conditions ?? [], isCluster ? 'Ready' : 'Active') ?? {};
  const told = ['being deleted', message].filter(Boolean).join(': ');
  const end: ResourceEnd = { key, state: 'pending', message: told };
  // A schedule's status is in this state directory, whoever leads the cluster.
  return isCluster ? leftToLeader(end, name, acting) : end;
}

function report(context: CliContext, ends: readonly ResourceEnd[] = []): ExitCode {
  const rows = (all: readonly ResourceEnd[]) =>
    formatTable(
      ['RESOURCE', 'STATE', 'MESSAGE'],
      all.map(({ key, state, message }) => [key, state, message]),
    );
  answer(context, ends, rows);
  return exitCodeOf(ends);
}
