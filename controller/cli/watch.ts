import { join, resolve } from 'node:path';
import { formatProblem, type Problem } from '../../crds/problem.ts';
import { steadyClock } from '../clock.ts';
import type { LeaseTimes } from '../lease/lease-elector.ts';
import type { Log } from '../log.ts';
import type { Actor } from '../loop/run-group.ts';
import type { Operator } from '../operator.ts';
import { type RunOperatorOptions, runOperator } from '../run-operator.ts';
import { followManifests } from '../source/follow-manifests.ts';
import { followGit } from '../source/git/follow-git.ts';
import { GIT_HOOK_PATH, gitHook } from '../source/git/git-hook.ts';
import { type Commit, GitRepository } from '../source/git/git-repository.ts';
import { Nudge } from '../source/git/nudge.ts';
import type { CliContext, ExitCode } from './cli-context.ts';
import { checkGit, type GitOptions, resultsActor } from './git-source.ts';

/** Where the verbs that run the operator serve and log. */
export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  readonly log: Log;
}

/** Runs the operator until the verb's work in it is done; undefined when it was ended before that. */
export async function workInOperator<T>(
  context: CliContext,
  serve: ServeOptions,
  verb: string,
  work: (operator: Operator, signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  let result: T | undefined;
  const actor = (operator: Operator): Actor => ({
    name: verb,
    async execute(signal) {
      result = await work(operator, signal);
    },
  });
  await runOperator(operatorOptions(context, serve, verb), (operator) => [actor(operator)], context.signal);
  return result;
}

function operatorOptions(
  context: CliContext,
  { host, port, log }: ServeOptions,
  verb: string,
): RunOperatorOptions {
  const { packageRoot, stateDir, cacheDir, note } = context;
  // What an operator writes to standard error is a log; what the other verbs write is for people.
  const progress = verb === 'watch' ? (line: string) => log.info({ line }, 'progress') : note;
  return { packageRoot, stateDir, cacheDir, host, port, log, verb, progress };
}

/** Where manifests are: a folder, or a repository. */
export type WatchedSource = { readonly recursive: boolean; readonly election?: LeaseTimes } & (
  | { readonly root: string }
  | { readonly git: GitOptions }
);

/** `controller --watch`: the operator; ends at SIGTERM or SIGINT, healed. */
export async function watch(
  context: CliContext,
  serve: ServeOptions,
  source: WatchedSource,
): Promise<ExitCode> {
  const { recursive, election } = source;
  const options = { ...operatorOptions(context, serve, 'watch'), ...(election && { election }) };
  if ('git' in source) return watchGit(context, serve, { options, git: source.git, recursive });
  const root = resolve(source.root);
  await runOperator(
    options,
    ({ store, load }) => [
      {
        name: 'source',
        execute: (signal) =>
          followManifests(
            {
              ...{ root, recursive, load, store, clock: steadyClock },
              onProblems: problemTeller(serve),
              onWatchError: (err) => serve.log.warn({ err }, 'file events are lost: listing goes on'),
            },
            signal,
          ),
      },
    ],
    context.signal,
  );
  return 0;
}

const problemTeller =
  ({ log }: ServeOptions) =>
  (problems: readonly Problem[]) =>
    log.warn({ problems: problems.map(formatProblem) }, 'manifests have problems');

interface WatchedGit {
  readonly options: RunOperatorOptions;
  readonly git: GitOptions;
  readonly recursive: boolean;
}

async function watchGit(
  context: CliContext,
  serve: ServeOptions,
  { options, git, recursive }: WatchedGit,
): Promise<ExitCode> {
  const { log } = serve;
  const secret = await checkGit(git);
  const nudge = new Nudge();
  const hook = gitHook(
    secret,
    () => nudge.give(),
    () => steadyClock.now(),
  );
  const posts = new Map([[GIT_HOOK_PATH, hook]]);
  const { access, path, intervalMs, resultsBranch } = git;
  const actorsOf = (operator: Operator): readonly Actor[] => {
    // Not before: only the one writer of the state directory may touch what lies there.
    const opened = GitRepository.open({ ...git, stateDir: context.stateDir });
    const { store, load } = operator;
    const follow = async (signal: AbortSignal) =>
      followGit(
        {
          ...{ repository: await opened, name: access.url, path, recursive, intervalMs, nudge, load, store },
          ...{ clock: steadyClock, composeDir: join(context.packageRoot, 'compose'), random: Math.random },
          onProblems: problemTeller(serve),
          onCommit: (commit, isRewritten) => tellCommit(log, commit, isRewritten),
        },
        signal,
      );
    const source = { name: 'source', execute: follow };
    if (resultsBranch === undefined) return [source];
    const { schedules } = operator.statuses;
    const results = { access, branch: resultsBranch, context, schedules, store, clock: steadyClock, log };
    return [source, resultsActor(results)];
  };
  await runOperator({ ...options, posts, settleMs: 0 }, actorsOf, context.signal);
  return 0;
}

function tellCommit(log: Log, { revision, message, author }: Commit, isRewritten: boolean): void {
  const fields = { revision, message, author };
  if (isRewritten) log.warn(fields, 'commit taken; it does not follow the one before: history was rewritten');
  else log.info(fields, 'commit taken');
}
