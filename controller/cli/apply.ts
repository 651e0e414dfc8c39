import { systemClock } from '../clock.ts';
import type { Operator } from '../operator.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { findCondition } from '../status/conditions.ts';
import type { StatusStores } from '../status/status-stores.ts';
import { awaitResources, exitCodeOf, type ResourceEnd } from './await-resources.ts';
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
    await untilGone(resources, operator, context.note, signal);
    return resources.map(({ key }): ResourceEnd => ({ key, state: 'done', message: 'deleted' }));
  });
  return report(context, ends);
}

const pollMs = 200;

async function untilGone(
  resources: readonly StoredResource[],
  { store, statuses }: Operator,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = '';
  for (;;) {
    const left = resources.filter(({ key }) => store.get(key) !== undefined);
    if (left.length === 0) return;
    const lines = await Promise.all(left.map((resource) => describeDeletion(resource, statuses)));
    const line = lines.join('; ');
    if (line !== last) tell(line);
    last = line;
    await systemClock.sleep(pollMs, signal);
  }
}

async function describeDeletion(
  { key, kind, name }: StoredResource,
  statuses: StatusStores,
): Promise<string> {
  const { status } = await (kind === 'ClusterSpec' ? statuses.clusters : statuses.schedules).read(name);
  const { message } =
    findCondition(status?.conditions ?? [], kind === 'ClusterSpec' ? 'Ready' : 'Active') ?? {};
  return [`${key} is being deleted`, message].filter(Boolean).join(': ');
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
