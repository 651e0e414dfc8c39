import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import { systemClock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Actor } from '../loop/run-group.ts';
import type { Operator } from '../operator.ts';
import { buildReport } from '../report/build-report.ts';
import { renderJson } from '../report/render-json.ts';
import { renderMarkdown } from '../report/render-markdown.ts';
import type { Git, GitAccess } from '../source/git/git-command.ts';
import { pushResults } from '../source/git/push-results.ts';
import { findCondition } from '../status/conditions.ts';
import type { CliContext } from './cli-context.ts';
import { shareable } from './report.ts';

/** What `--git` and the options beside it say. */
export interface GitOptions {
  readonly access: GitAccess;
  readonly ref?: string;
  /** Folder of manifests in the repository. */
  readonly path: string;
  readonly intervalMs: number;
  readonly verify: readonly string[];
  /** File with the secret of the webhook. */
  readonly hookSecretFile?: string;
  readonly resultsBranch?: string;
}

/** Rejects, before anything is begun, when git is not there or a file of secrets cannot be used. */
export async function checkGit({ access, hookSecretFile }: GitOptions): Promise<string | undefined> {
  const env = { ...access.environment };
  await promisify(execFile)('git', ['--version'], { env }).catch((cause: unknown) => {
    throw new Error('--git needs git, which is not installed here', { cause });
  });
  for (const file of [access.sshKeyFile, access.knownHostsFile, access.tokenFile])
    if (file !== undefined) await readSecret(file);
  return hookSecretFile === undefined ? undefined : await readSecret(hookSecretFile);
}

async function readSecret(file: string): Promise<string> {
  const text = (await readFile(file, 'utf8')).trim();
  if (text === '') throw new Error(`${file} is empty`);
  return text;
}

const lookMs = 2_000;
const retryMs = 30_000;

interface ResultsOptions {
  readonly git: Promise<Git>;
  readonly url: string;
  readonly branch: string;
  readonly context: CliContext;
  readonly operator: Operator;
  readonly log: Log;
}

/** Pushes the results of each schedule that has ended, once; what could not be pushed is tried again. */
export function resultsActor({ context, operator, log, git, url, branch }: ResultsOptions): Actor {
  const pushed = new Map<string, string>();
  const folder = join(context.stateDir, 'git', 'results');
  const push = async (name: string, status: ScheduleStatus, signal: AbortSignal) => {
    const files = await resultFiles(context, operator, name, status);
    if (!files) return;
    const message = `results of ${name} (${status.source?.revision ?? 'no revision'})`;
    if (await pushResults({ git: await git, url, branch, folder, files, message }, signal))
      log.info({ schedule: name, branch }, 'results pushed');
  };
  return {
    name: 'git results',
    async execute(signal) {
      for (;;) {
        let waitMs = lookMs;
        for (const [name, status] of (await operator.statuses.schedules.list()).found) {
          const key = `${status.runKey} ${status.trials.length}`;
          if (!hasResults(status) || pushed.get(name) === key) continue;
          try {
            await push(name, status, signal);
            pushed.set(name, key);
          } catch (err) {
            signal.throwIfAborted();
            log.warn({ err, schedule: name }, 'results not pushed');
            waitMs = retryMs;
          }
        }
        await systemClock.sleep(waitMs, signal);
      }
    },
  };
}

const hasResults = ({ conditions, trials }: ScheduleStatus): boolean =>
  trials.length > 0 && findCondition(conditions, 'Complete')?.status === 'True';

/** Of its last trial's time, so that the same trials are the same files, whoever writes them and when. */
async function resultFiles(
  { version, packageRoot }: CliContext,
  { store }: Operator,
  name: string,
  status: ScheduleStatus,
): Promise<ReadonlyMap<string, string> | undefined> {
  const schedule = store.get(`FaultSchedule/${name}`)?.resource;
  if (schedule?.kind !== 'FaultSchedule') return undefined;
  const cluster = store.get(`ClusterSpec/${schedule.spec.clusterRef.name}`)?.resource;
  const last = status.trials.at(-1)!;
  const report = buildReport(
    [{ schedule, status, ...(cluster?.kind === 'ClusterSpec' && { cluster: shareable(cluster) }) }],
    {
      writtenAt: last.finishedAt ?? last.startedAt,
      versions: { 'spark-failures': version, node: process.versions.node },
      images: Object.fromEntries(await resolveImageNames(packageRoot)),
    },
  );
  return new Map([
    [`results/${name}/report.json`, `${JSON.stringify(renderJson(report), undefined, 2)}\n`],
    [`results/${name}/report.md`, renderMarkdown(report)],
  ]);
}
