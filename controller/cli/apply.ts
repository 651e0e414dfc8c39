import type { Actor } from '../loop/run-group.ts';
import type { Operator } from '../operator.ts';
import { runOperator } from '../run-operator.ts';
import { awaitResources, type ResourceEnd } from './await-resources.ts';
import { answer, type CliContext, type ExitCode, formatTable } from './cli-context.ts';
import { type FileOptions, readFiles } from './read-files.ts';
import { operatorOptions, type ServeOptions } from './watch.ts';

/** `controller apply -f ... --wait`: runs the operator until the named clusters are Ready and schedules Complete. */
export async function apply(context: CliContext, serve: ServeOptions, files: FileOptions): Promise<ExitCode> {
  let ends: readonly ResourceEnd[] = [];
  const applier = (operator: Operator): Actor => ({
    name: 'apply',
    async execute(signal) {
      const resources = await readFiles(operator, files, signal);
      ends = await awaitResources(resources, operator.statuses, context.note, signal);
    },
  });
  await runOperator(
    operatorOptions(context, serve, 'apply'),
    (operator) => [applier(operator)],
    context.signal,
  );
  return report(context, ends);
}

/** `controller delete -f ... --wait`: destroys what the named manifests made, schedules first. */
export async function remove(
  context: CliContext,
  serve: ServeOptions,
  files: FileOptions,
): Promise<ExitCode> {
  const gone: ResourceEnd[] = [];
  const remover = (operator: Operator): Actor => ({
    name: 'delete',
    async execute(signal) {
      const resources = await readFiles(operator, files, signal);
      const schedulesFirst = [...resources].sort((a, b) => (a.kind > b.kind ? -1 : 1));
      for (const kind of new Set(schedulesFirst.map((resource) => resource.kind))) {
        const keys = schedulesFirst.filter((resource) => resource.kind === kind).map(({ key }) => key);
        for (const key of keys) operator.store.delete(key);
        await untilGone(keys, operator, context.note, signal);
        gone.push(...keys.map((key) => ({ key, state: 'done' as const, message: 'deleted' })));
      }
    },
  });
  await runOperator(
    operatorOptions(context, serve, 'delete'),
    (operator) => [remover(operator)],
    context.signal,
  );
  return report(context, gone);
}

async function untilGone(
  keys: readonly string[],
  { store, statuses }: Operator,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = '';
  while (keys.some((key) => store.get(key) !== undefined)) {
    signal.throwIfAborted();
    const left = keys.flatMap((key) => store.get(key) ?? []);
    const messages = await Promise.all(
      left.map(async ({ kind, name }) => {
        const { status } = await (kind === 'ClusterSpec' ? statuses.clusters : statuses.schedules).read(name);
        return `${name} is being deleted: ${status?.conditions.find(({ type }) => type === 'Ready')?.message ?? ''}`;
      }),
    );
    const line = messages.join('; ');
    if (line !== last) tell(line);
    last = line;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function report(context: CliContext, ends: readonly ResourceEnd[]): ExitCode {
  const rows = (all: readonly ResourceEnd[]) =>
    formatTable(
      ['RESOURCE', 'STATE', 'MESSAGE'],
      all.map(({ key, state, message }) => [key, state, message]),
    );
  answer(context, ends, rows);
  return ends.length > 0 && ends.every(({ state }) => state === 'done') ? 0 : 1;
}
