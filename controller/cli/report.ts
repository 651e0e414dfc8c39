import { readFile, writeFile } from 'node:fs/promises';
import { basename, isAbsolute, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { FaultSchedule } from '../../crds/fault-schedule.ts';
import { ManifestError } from '../../crds/problem.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import { messageOf } from '../../provisioners/contract.ts';
import { systemClock } from '../clock.ts';
import { buildReport } from '../report/build-report.ts';
import { rowsOriginOf } from '../report/charts.ts';
import { type Drawing, drawingBuilder } from '../report/drawing.ts';
import { renderCsv } from '../report/render-csv.ts';
import { type PageParts, renderHtml } from '../report/render-html.ts';
import { renderJson } from '../report/render-json.ts';
import { renderMarkdown } from '../report/render-markdown.ts';
import type { CampaignInput, Report } from '../report/report.ts';
import { resourceKinds } from '../resource-kinds.ts';
import { manifestLoader } from '../source/load-manifest.ts';
import { readManifests } from '../source/read-manifests.ts';
import { settledReader } from '../source/read-settled.ts';
import { SavedResources } from '../source/saved-resources.ts';
import { HDFS_COMPOSE } from '../stack/checkpoint.ts';
import { readSampleFile } from '../workload/sample-file.ts';
import type { CliContext, ExitCode } from './cli-context.ts';
import type { FileOptions } from './read-files.ts';
import { readState } from './read-state.ts';

/** What a report can be written as; the first is what is written when nothing is said. */
export const REPORT_FORMATS = ['html', 'md', 'csv', 'json'] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

export interface ReportOptions extends FileOptions {
  readonly format: ReportFormat;
  /** Standard output when absent. */
  readonly out?: string;
  /** False: a page has no raw rows attached. */
  readonly raw?: boolean;
}

/**
 * `controller report -f ...`: what the trials of the schedules say, from status files and raw rows alone; needs no lock.
 * Ends with 1 when a schedule has never run, or a file cannot be read.
 */
export async function report(context: CliContext, options: ReportOptions): Promise<ExitCode> {
  const { isWritten, problems } = await writeReport(context, options);
  return isWritten && problems.length === 0 ? 0 : 1;
}

/** The same for who needs to know whether there is a report, though something asked for may not be in it. */
export async function writeReport(
  context: CliContext,
  options: ReportOptions,
): Promise<{ readonly isWritten: boolean; readonly problems: readonly string[] }> {
  const { inputs, problems } = await readCampaigns(context, options);
  for (const problem of problems) context.note(problem);
  const isWritten = inputs.length > 0;
  if (!isWritten) return { isWritten, problems };
  const text = await render(context, options, inputs);
  if (options.out === undefined) context.print(text.trimEnd());
  else await writeFile(options.out, text);
  return { isWritten, problems };
}

async function render(
  context: CliContext,
  { format, raw = true }: ReportOptions,
  inputs: readonly CampaignInput[],
): Promise<string> {
  const built = buildReport(inputs, {
    writtenAt: new Date().toISOString(),
    versions: { 'spark-failures': context.version, node: process.versions.node },
    images: Object.fromEntries(await resolveImageNames(context.packageRoot)),
  });
  switch (format) {
    case 'html':
      return renderHtml(built, await readParts(context, built, raw ? attachLimits : noRaw));
    case 'md':
      return renderMarkdown(built);
    case 'csv':
      return renderCsv(built);
    case 'json':
      return `${JSON.stringify(renderJson(built), undefined, 2)}\n`;
    default:
      return format satisfies never;
  }
}

interface Read {
  readonly inputs: readonly CampaignInput[];
  /** Why something asked for is not in the report. */
  readonly problems: readonly string[];
}

/** The schedules among the manifests, with their status, and their clusters as the state directory knows them. */
async function readCampaigns(
  { packageRoot, stateDir, signal }: CliContext,
  { files, recursive }: FileOptions,
): Promise<Read> {
  const read = settledReader(0, systemClock);
  const load = manifestLoader(resourceKinds, read, join(packageRoot, HDFS_COMPOSE));
  const listing = await readManifests(files, { load, recursive, clock: systemClock }, signal);
  const wrong = [...listing.problems, ...listing.files.flatMap(({ problems }) => problems)];
  if (wrong.length > 0) throw new ManifestError(wrong);
  const documents = listing.files.flatMap((file) => file.documents);
  const known = await new SavedResources(stateDir, resourceKinds).list();
  const { schedules: statuses, unreadable } = await readState(stateDir);
  const problems = unreadable.map(({ path, problem }) => `${path}: ${problem}`);
  const clusterOf = ({ spec }: FaultSchedule): ClusterSpec | undefined => {
    const key = `ClusterSpec/${spec.clusterRef.name}`;
    const resource = known.get(key)?.resource ?? documents.find((one) => one.key === key)?.resource;
    return resource?.kind === 'ClusterSpec' ? resource : undefined;
  };
  const schedules = documents.flatMap(({ resource, specHash }) =>
    resource.kind === 'FaultSchedule' ? [{ schedule: resource, specHash }] : [],
  );
  if (schedules.length === 0) problems.push('no FaultSchedule in these manifests: a report is about one');
  const inputs = schedules.flatMap(({ schedule, specHash }): CampaignInput[] => {
    const { name } = schedule.metadata;
    const status = statuses.get(name);
    const cluster = clusterOf(schedule);
    if (!status) problems.push(`nothing is known of ${name}: it has never run with this state directory`);
    if (!status) return [];
    const isEdited = status.specHash !== undefined && status.specHash !== specHash;
    return [{ schedule, status, isEdited, ...(cluster && { cluster: shareable(cluster) }) }];
  });
  return { inputs, problems };
}

/** A report is shared: what it says of files tells nobody where it was made. */
export function shareable(cluster: ClusterSpec): ClusterSpec {
  const pathOf = (file: string) => {
    const path = relative(process.cwd(), file);
    return path.startsWith('..') || isAbsolute(path) ? basename(file) : path;
  };
  const stacks = cluster.spec.stacks.map((stack) => ({ ...stack, compose: pathOf(stack.compose) }));
  return { ...cluster, spec: { ...cluster.spec, stacks } };
}

/** Points of all drawings together, and of one: what a page of some megabytes bears. */
const mostBuckets = { all: 16_000, each: 900 } as const;
/** So much before the fault is drawn. */
const drawnBeforeMs = 120_000;

const mebibyte = 1 << 20;
/** Gzipped rows in a page, and rows of one trial before. */
const attachLimits = { pageBytes: 3 * mebibyte, fileBytes: 32 * mebibyte } as const;
const noRaw = { pageBytes: 0, fileBytes: 0 } as const;

/** Rows are read once, a trial after another, and none is kept: a day of them must not need a day's memory. */
async function readParts(
  { packageRoot, stateDir, note, signal }: CliContext,
  { campaigns }: Report,
  { pageBytes, fileBytes }: Readonly<Record<'pageBytes' | 'fileBytes', number>>,
): Promise<PageParts> {
  const built = join(packageRoot, 'dist', 'controller', 'report');
  const [script, style] = await Promise.all(
    ['page.js', 'page.css'].map((name) => readFile(join(built, name), 'utf8')),
  );
  const trials = campaigns.flatMap((campaign) => campaign.trials);
  const buckets = Math.min(mostBuckets.each, Math.floor(mostBuckets.all / Math.max(1, trials.length)));
  const drawings = new Map<string, Drawing>();
  const attached = new Map<string, Uint8Array>();
  let leftBytes: number = pageBytes;
  for (const trial of trials) {
    if (trial.samples === undefined) continue;
    try {
      const file = { path: join(stateDir, trial.samples), mostBytes: fileBytes };
      const { drawing, raw } = await readRows(file, trial, buckets, signal);
      drawings.set(trial.runId, drawing);
      const packed = raw && (await promisify(gzip)(raw));
      if (!packed || packed.length > leftBytes) continue;
      leftBytes -= packed.length;
      attached.set(trial.runId, packed);
    } catch (error) {
      signal.throwIfAborted();
      note(`rows of trial ${trial.number} cannot be read: ${messageOf(error)}`);
    }
  }
  const attachLimit =
    pageBytes === 0
      ? 'None are attached.'
      : `Attached are at most ${pageBytes / mebibyte} MiB of them, and none of a trial with more than ${fileBytes / mebibyte} MiB.`;
  return { script: script!, style: style!, drawings, attached, attachLimit };
}

async function readRows(
  { path, mostBytes }: { readonly path: string; readonly mostBytes: number },
  trial: TrialRecord,
  buckets: number,
  signal: AbortSignal,
): Promise<{ readonly drawing: Drawing; readonly raw: Buffer | undefined }> {
  const originMs = rowsOriginOf(trial);
  const builder = drawingBuilder(originMs - drawnBeforeMs, buckets);
  let chunks: Buffer[] = [];
  let leftBytes = mostBytes;
  const keep = (bytes: Buffer) => {
    leftBytes -= bytes.length;
    if (leftBytes < 0) chunks = [];
    else chunks.push(bytes);
  };
  for await (const row of readSampleFile(path, keep)) {
    signal.throwIfAborted();
    builder.add(row);
  }
  return { drawing: builder.build(originMs), raw: leftBytes < 0 ? undefined : Buffer.concat(chunks) };
}
