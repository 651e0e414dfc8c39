import { resolve } from 'node:path';
import { formatProblem } from '../../crds/problem.ts';
import { systemClock } from '../clock.ts';
import type { LeaseTimes } from '../lease/lease-elector.ts';
import type { Log } from '../log.ts';
import type { Actor } from '../loop/run-group.ts';
import type { Operator } from '../operator.ts';
import { type RunOperatorOptions, runOperator } from '../run-operator.ts';
import { followManifests } from '../source/follow-manifests.ts';
import type { CliContext, ExitCode } from './cli-context.ts';

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

/** `controller --watch DIR`: the operator; ends at SIGTERM or SIGINT, healed. */
export async function watch(
  context: CliContext,
  serve: ServeOptions,
  folder: { readonly root: string; readonly recursive: boolean; readonly election?: LeaseTimes },
): Promise<ExitCode> {
  const root = resolve(folder.root);
  await runOperator(
    { ...operatorOptions(context, serve, 'watch'), ...(folder.election && { election: folder.election }) },
    ({ store, load }) => [
      {
        name: 'source',
        execute: (signal) =>
          followManifests(
            {
              ...{ root, recursive: folder.recursive, load, store, clock: systemClock },
              onProblems: (problems) =>
                serve.log.warn({ problems: problems.map(formatProblem) }, 'manifests have problems'),
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
