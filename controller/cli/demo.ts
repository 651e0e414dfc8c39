import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { removeImages } from '../../compose/images/local-engine.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { messageOf } from '../../provisioners/contract.ts';
import { startInstalledEngine } from '../../provisioners/shared/install-engine.ts';
import type { Operator } from '../operator.ts';
import { gatherInventory } from '../schedule/gather-facts.ts';
import { RUN_AT_ANNOTATION } from '../schedule/schedule-reconciler.ts';
import type { StoredResource } from '../source/resource-store.ts';
import { PATH_CHECKPOINT } from '../stack/checkpoint.ts';
import { remove } from './apply.ts';
import { awaitResources, exitCodeOf, type ResourceEnd } from './await-resources.ts';
import { answer, type CliContext, type ExitCode } from './cli-context.ts';
import { formatTrials, trialsOf } from './get.ts';
import { readFiles } from './read-files.ts';
import { readState } from './read-state.ts';
import { writeReport } from './report.ts';
import { type ServeOptions, workInOperator } from './watch.ts';

const secondsOf = (sinceMs: number) => `${Math.round((Date.now() - sinceMs) / 1000)} s`;

/** Every so often a wait that says nothing new shows that it is alive. */
const heartbeatMs = 15_000;

/**
 * `controller demo`: what `manifests/` asks for, from nothing to a table of figures and a report; the cluster stays. Run again, it
 * uses what is there and injects once more.
 */
export async function demo(context: CliContext, serve: ServeOptions): Promise<ExitCode> {
  const startedMs = Date.now();
  const narrator = narrate(context.note, startedMs);
  const work = async (operator: Operator, signal: AbortSignal) => {
    const annotations = { [RUN_AT_ANNOTATION]: new Date().toISOString() };
    const resources = await readFiles(operator, { ...demoFiles(context), annotations }, signal);
    const ends = await awaitResources(resources, operator, narrator.tell, signal);
    return { ends, prometheus: await findPrometheus(resources, operator, signal) };
  };
  const told = { ...context, note: narrator.tell };
  const done = await workInOperator(told, serve, 'demo', work).finally(narrator.end);
  return closing(context, startedMs, done);
}

/** `controller demo --down`: nothing stays but image and download caches; with `purge` those go, too. */
export async function demoDown(context: CliContext, serve: ServeOptions, purge: boolean): Promise<ExitCode> {
  if (!(await startInstalledEngine(context.note, context.signal))) {
    context.note('no Docker engine is installed here: there is nothing to take down');
    return 0;
  }
  const code = await remove({ ...context, output: 'table', print: context.note }, serve, demoFiles(context));
  if (code !== 0) return code;
  await rm(context.stateDir, { recursive: true, force: true });
  if (purge) {
    await removeImages([...(await resolveImageNames(context.packageRoot)).values()], context.signal);
    await rm(context.cacheDir, { recursive: true, force: true });
  }
  context.note(
    purge
      ? 'all is gone; the Docker engine stays installed'
      : 'all is gone but the caches (-- --purge removes them too); the Docker engine stays installed',
  );
  return 0;
}

function demoFiles({ packageRoot }: CliContext) {
  return { files: [join(packageRoot, 'manifests')], recursive: false };
}

async function closing(
  context: CliContext,
  startedMs: number,
  done?: { readonly ends: readonly ResourceEnd[]; readonly prometheus: string | undefined },
): Promise<ExitCode> {
  const { schedules } = await readState(context.stateDir);
  const trials = [...schedules].flatMap(trialsOf);
  answer(context, trials, formatTrials);
  const isOnPath = trials.some(({ settings }) => settings?.checkpoint === PATH_CHECKPOINT);
  const lines = [
    `took ${secondsOf(startedMs)}`,
    'figures count from the instant at which the fault was seen, ± their error bound',
    ...(isOnPath ? ['the checkpoint is not isolated: it is a folder that every node sees'] : []),
    `Prometheus: ${done?.prometheus ?? 'not found'}`,
    `raw rows: ${join(context.stateDir, 'samples')}`,
    `report, for a browser: ${await demoReport(context)}`,
    'take it all down: npm run demo:down (with -- --purge the image and download caches go, too)',
  ];
  for (const line of lines) context.note(line);
  return exitCodeOf(done?.ends ?? []);
}

/** Writes the page about the demo's trials below the state directory; says where, or why there is none. */
export async function demoReport(context: CliContext): Promise<string> {
  const out = join(context.stateDir, 'report.html');
  try {
    const { isWritten } = await writeReport(context, { ...demoFiles(context), format: 'html', out });
    return isWritten ? out : 'not written';
  } catch (error) {
    return `not written: ${messageOf(error)}`;
  }
}

/** Where Prometheus is published: on the node that runs it, in host mode. */
async function findPrometheus(
  resources: readonly StoredResource[],
  operator: Operator,
  signal: AbortSignal,
): Promise<string | undefined> {
  const cluster = resources.find(({ kind }) => kind === 'ClusterSpec');
  if (!cluster) return undefined;
  const { swarm, nodes } = operator.access(cluster.name);
  const gateway = await swarm(signal);
  const [services, inventory] = await Promise.all([
    gateway.listServices(signal),
    gatherInventory(gateway, signal),
  ]);
  const service = services.find(({ Spec }) => Spec.Name.endsWith('_prometheus'));
  const port = service?.Spec.EndpointSpec.Ports?.[0]?.PublishedPort;
  const task = inventory.services.find(({ name }) => name === service?.Spec.Name)?.tasks[0];
  return port && task ? `http://${(await nodes(task.node)).address}:${port}` : undefined;
}

/** Lines with the time since the start; repeats itself when nothing else is said for a while. */
function narrate(note: (text: string) => void, startedMs: number) {
  let last = 'starting';
  const say = (line: string) => note(`[${secondsOf(startedMs).padStart(5)}] ${line}`);
  const timer = setInterval(() => say(`still: ${last}`), heartbeatMs);
  return {
    tell(line: string) {
      if (line === last) return;
      last = line;
      say(line);
      timer.refresh();
    },
    end: () => clearInterval(timer),
  };
}
