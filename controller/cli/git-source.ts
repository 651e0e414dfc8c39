import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import type { ScheduleStatus } from '../../crds/status.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { Log } from '../log.ts';
import type { Actor } from '../loop/run-group.ts';
import type { Operator } from '../operator.ts';
import { buildReport } from '../report/build-report.ts';
import { renderJson } from '../report/render-json.ts';
import { renderMarkdown } from '../report/render-markdown.ts';
import { type GitAccess, openGit } from '../source/git/git-command.ts';
import { pushResults } from '../source/git/push-results.ts';
import { findCondition } from '../status/conditions.ts';
import type { StatusStore } from '../status/status-store.ts';
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
  readonly access: GitAccess;
  readonly branch: string;
  readonly context: Pick<CliContext, 'version' | 'packageRoot' | 'stateDir'>;
  readonly schedules: Pick<StatusStore<ScheduleStatus>, 'list'>;
  readonly store: Pick<Operator['store'], 'get'>;
  readonly clock: Clock;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

/** Pushes the results of each schedule that has ended, once, in the order of their ends; what fails is tried again. */
export function resultsActor(options: ResultsOptions): Actor {
  const { access, branch, context, schedules, clock, log } = options;
  const pushed = new Map<string, string>();
  // Not where the source is fetched to: what is cut off of the branch's history here would be missing from that of the source.
  const folder = join(context.stateDir, 'git', 'results');
  const push = async (name: string, status: ScheduleStatus, signal: AbortSignal) => {
    const key = `${status.runKey} ${status.trials.length}`;
    const files = pushed.get(name) === key ? undefined : await resultFiles(options, name, status);
    if (!files) return;
    const git = await openGit(folder, access);
    const message = `results of ${name} (${status.trials.at(-1)?.source?.revision ?? 'no revision'})`;
    if (await pushResults({ git, url: access.url, branch, folder, files, message }, signal))
      log.info({ schedule: name, branch }, 'results pushed');
    pushed.set(name, key);
  };
  return {
    name: 'git results',
    async execute(signal) {
      for (;;) {
        let waitMs = lookMs;
        const attempt = async (fields: object, work: () => Promise<void>) => {
          try {
            await work();
          } catch (err) {
            signal.throwIfAborted();
            log.warn({ err, ...fields }, 'results not pushed');
            waitMs = retryMs;
          }
        };
        await attempt({}, async () => {
          for (const [name, status] of ended((await schedules.list()).found))
            await attempt({ schedule: name }, () => push(name, status, signal));
        });
        await clock.sleep(waitMs, signal);
      }
    },
  };
}

/** Those with results, the one first that ended first. */
function ended(found: ReadonlyMap<string, ScheduleStatus>): readonly (readonly [string, ScheduleStatus])[] {
  const endOf = ({ trials }: ScheduleStatus) => Date.parse(timeOf(trials.at(-1)!));
  return [...found]
    .filter(([, status]) => hasResults(status))
    .sort(([, one], [, other]) => endOf(one) - endOf(other));
}

const timeOf = ({ finishedAt, startedAt }: TrialRecord): string => finishedAt ?? startedAt;

const hasResults = ({ conditions, trials }: ScheduleStatus): boolean =>
  trials.length > 0 && findCondition(conditions, 'Complete')?.status === 'True';

/** Of its last trial's time, so that the same trials are the same files, whoever writes them and when. */
async function resultFiles(
  { store, context: { version, packageRoot } }: ResultsOptions,
  name: string,
  status: ScheduleStatus,
): Promise<ReadonlyMap<string, string> | undefined> {
  const { resource: schedule, specHash } = store.get(`FaultSchedule/${name}`) ?? {};
  if (schedule?.kind !== 'FaultSchedule') return undefined;
  const cluster = store.get(`ClusterSpec/${schedule.spec.clusterRef.name}`)?.resource;
  const isEdited = status.specHash !== undefined && status.specHash !== specHash;
  const report = buildReport(
    [{ schedule, status, isEdited, ...(cluster?.kind === 'ClusterSpec' && { cluster: shareable(cluster) }) }],
    {
      writtenAt: timeOf(status.trials.at(-1)!),
      versions: { 'spark-failures': version, node: process.versions.node },
      images: Object.fromEntries(await resolveImageNames(packageRoot)),
    },
  );
  return new Map([
    [`results/${name}/report.json`, `${JSON.stringify(renderJson(report), undefined, 2)}\n`],
    [`results/${name}/report.md`, renderMarkdown(report)],
  ]);
}
