import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { noFindings, type Sample } from '../../state-machines/recovery/sample.ts';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { DayAnswer } from './analyze-day-child.ts';
import type { Measure } from './bench-site.ts';

const rowMs = 250;
const hourMs = 3_600_000;
/** Day of the rows, and the fault in it: from the first hour to the last, so that nearly all of them are judged. */
const day = { fromMs: 1_700_000_000_000, effMs: hourMs, endMs: 23 * hourMs, ms: 24 * hourMs } as const;
/** The job stands still once in each hour of the hold, after a random time. */
const stallMs = 20_000;

type Name = 'analyze-day-time' | 'analyze-day-memory';

/**
 * A day of rows read from their file, calibrated, gated and judged in a process of their own, its time from the first
 * line to the verdict and its peak of memory; beside it the same rows only read and parsed. Needs no engine.
 */
export const measureAnalyzeDay: Measure<Name> = async (site, signal) => {
  site.progress('analyze-day: writing a day of rows');
  const file = join(site.workDir, 'day.ndjson');
  await pipeline(Readable.from(lines()), createWriteStream(file), { signal });
  const script = join(import.meta.dirname, 'analyze-day-child.js');
  const run = async (...args: readonly string[]) =>
    JSON.parse(await runCommand(process.execPath, [script, file, ...args], {}, signal)) as DayAnswer;
  const instants = JSON.stringify({
    ...{ cmdMs: day.fromMs + day.effMs - 100, effMs: day.fromMs + day.effMs, effResolutionMs: 50 },
    endMs: day.fromMs + day.endMs,
  });
  const n = site.runs ?? 5;
  const analyzed: DayAnswer[] = [];
  const parsed: DayAnswer[] = [];
  for (let count = 0; count < n; count++) {
    analyzed.push(await run(instants));
    parsed.push(await run());
  }
  const wrong = analyzed.find(({ recovery, stallMs: seen = 0 }) => {
    return recovery !== 'Recovered' || Math.abs(seen / stallMs - 22) > 2;
  });
  if (wrong) throw new Error(`the day was misjudged: ${JSON.stringify(wrong)}`);
  const worst = (answers: readonly DayAnswer[], of: 'seconds' | 'peakMb') =>
    Math.max(...answers.map((answer) => answer[of]));
  const reading = (of: 'seconds' | 'peakMb') => ({
    n,
    value: worst(analyzed, of),
    baseline: worst(parsed, of),
  });
  return {
    'analyze-day-time': { ...reading('seconds'), unit: 's', target: { of: 'value', sign: '<', limit: 10 } },
    'analyze-day-memory': {
      ...reading('peakMb'),
      unit: 'MB',
      target: { of: 'value', sign: '<', limit: 300 },
    },
  };
};

/** A whole system's answers. */
function viewsAt(atMs: number): Sample['views'] {
  const times = { askedMs: atMs, atMs };
  return [
    { source: 'spark-master', ...times, parts: { mastersAlive: 1, workersAlive: 3 }, losses: 0 },
    { source: 'spark-driver', ...times, parts: { executors: 3, cores: 6 }, losses: 0 },
    { source: 'kafka', ...times, parts: { brokers: 1, partitionsLed: 12, inSyncReplicas: 12 }, losses: 0 },
    { source: 'zookeeper', ...times, parts: { serversServing: 1, leaders: 1 }, losses: 0 },
    { source: 'swarm', ...times, parts: { nodesReady: 6, managersReachable: 1, tasksRunning: 9 }, losses: 0 },
  ];
}

/** Rows of a job that commits about every 1.2 s and works off what it missed at four times the speed. */
function* lines(): Iterable<string> {
  const random = seededRandom(day.ms);
  let visibleMs = day.fromMs - 1_500;
  let nextMs: number = day.fromMs;
  let batchAtMs: number = day.fromMs;
  let batchId = 0;
  const stallAt = Array.from({ length: 24 }, () => random() * 0.9 * hourMs);
  for (let ms = 0; ms <= day.ms; ms += rowMs) {
    const atMs = day.fromMs + ms + Math.round(random() * 20);
    const hour = Math.floor(ms / hourMs);
    const isHeld = hour >= 1 && hour < 23;
    const isStalled = isHeld && ms % hourMs >= stallAt[hour]! && ms % hourMs < stallAt[hour]! + stallMs;
    if (!isStalled && atMs >= nextMs) {
      visibleMs = Math.min(atMs - 900 - Math.round(random() * 300), visibleMs + 4_800);
      batchAtMs = atMs - 50;
      nextMs = atMs + 1_000 + Math.round(random() * 400);
      batchId++;
    }
    const row: Sample = {
      ...{ atMs, ackedMs: atMs - Math.round(random() * 300), committedMs: visibleMs, visibleMs },
      ...{ intended: ms * 2, acked: ms * 2 - 300, generatorBehindMs: Math.round(random() * 100) },
      ...{ batchId, batchAtMs },
      views: viewsAt(atMs - (atMs % 500)),
      batch: null,
      correctness: { ...noFindings, shortWindows: 1, shortRecords: (batchId * 7_919) % 3_000 },
      sources: { observerStartedMs: 1, generatorStartedMs: 1, generatorSeenMs: atMs, countedSinceMs: 0 },
    };
    yield `${JSON.stringify(row)}\n`;
  }
}
