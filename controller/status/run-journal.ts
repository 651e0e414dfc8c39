import { open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Outcome, RunJournal, RunPhase, RunRecord } from '../../state-machines/contract.ts';
import { errnoOf, StateError, stateWriteError } from './state-error.ts';
import { syncFolder, writeDurably } from './write-durably.ts';

/** A line that could not be understood. It is kept in the file and must be shown: it may hide a fault in force. */
interface JournalProblem {
  /** From 1. */
  readonly line: number;
  readonly problem: string;
}

/** What the journal says about every run it knows. */
export interface JournalContents {
  /** The newest record of each run, in the order of their first records. */
  readonly runs: readonly RunRecord[];
  readonly problems: readonly JournalProblem[];
}

/** The journal of the one process that holds the state lock. */
export interface FileRunJournal extends RunJournal {
  /** Lines found at the start that this build cannot understand. */
  readonly problems: readonly JournalProblem[];
  /** The newest record of each run, closed ones included, as the file says now. */
  runs(): Promise<readonly RunRecord[]>;
}

/** Closed runs that a compaction keeps, the last to be closed: what `describe` and a later question can still want. */
const KEPT_CLOSED_RUNS = 200;

/** Spelled out, so that a phase or outcome that the contract adds and this file forgets does not compile. */
const PHASES: { readonly [P in RunPhase]: P } = {
  prepared: 'prepared',
  injecting: 'injecting',
  holding: 'holding',
  healing: 'healing',
  healed: 'healed',
  stuck: 'stuck',
};
const OUTCOMES: { readonly [O in Outcome]: O } = {
  Healed: 'Healed',
  Aborted: 'Aborted',
  Refused: 'Refused',
  Stuck: 'Stuck',
  Unknown: 'Unknown',
};

// Loose: a field that the contract gains is kept, through compaction too.
const stepSchema = z.looseObject({
  node: z.string(),
  target: z.string(),
  mechanism: z.string(),
  args: z.array(z.string()),
  switch: z.enum(['power', 'zone', 'spot']).exactOptional(),
  witness: z
    .looseObject({ node: z.string(), args: z.array(z.string()), alone: z.literal(true).exactOptional() })
    .exactOptional(),
});

const recordSchema = z.looseObject({
  schemaVersion: z.literal(1),
  runId: z.string().min(1),
  cluster: z.string(),
  schedule: z.string(),
  fault: z.string(),
  kind: z.string(),
  instant: z.boolean(),
  needs: z.array(z.string()),
  steps: z.array(stepSchema),
  holdMs: z.number(),
  graceMs: z.number(),
  together: z.string().exactOptional(),
  follow: z.literal(true).exactOptional(),
  phase: z.enum(PHASES),
  atMs: z.number(),
  outcome: z.enum(OUTCOMES).exactOptional(),
  message: z.string().exactOptional(),
}) satisfies z.ZodType<RunRecord>;

/** The journal's file below the state directory. */
export function journalPath(stateDir: string): string {
  return join(stateDir, 'journal.ndjson');
}

/** Reads without changing anything: for `get`, `describe` and `doctor`, also beside a running writer. */
export async function readRunJournal(stateDir: string): Promise<JournalContents> {
  const { runs, problems } = parseJournal(await readText(journalPath(stateDir)));
  return { runs, problems };
}

/**
 * Opens `<state>/journal.ndjson` for writing and compacts it, now and after so many records: unfinished runs and the
 * newest closed ones stay, one line each, and with them every line that this build cannot understand.
 */
export async function openRunJournal(stateDir: string, compactEvery = 500): Promise<FileRunJournal> {
  const path = journalPath(stateDir);
  const compact = async () => {
    const parsed = parseJournal(await readText(path));
    const text = compactJournal(parsed);
    if (text !== parsed.text) await writeDurably(path, text);
    return parsed.problems;
  };
  const problems = await compact();
  let written = 0;
  let last: Promise<void> = Promise.resolve();
  const runs = async () => parseJournal(await readText(path)).runs;
  return {
    problems,
    runs,
    write(record) {
      const turn = last.then(() => append(path, record));
      const compacted = turn.then(async () => {
        written += 1;
        if (written % compactEvery === 0) await compact();
      });
      // Its own caller is told of the record alone: a file that could not be made shorter is as good.
      last = compacted.catch(() => {});
      return turn;
    },
    unfinished: async () => (await runs()).filter((run) => run.outcome === undefined),
  };
}

interface ParsedJournal extends JournalContents {
  readonly text: string;
  /** Lines not understood, verbatim. */
  readonly foreign: readonly string[];
}

/**
 * What is written of a run after it was closed, by who was healing it then, does not open it again.
 * A last line without its newline was never acknowledged: the write died under it, and it is no record.
 */
function parseJournal(text: string): ParsedJournal {
  const runs = new Map<string, RunRecord>();
  const problems: JournalProblem[] = [];
  const foreign: string[] = [];
  for (const [index, line] of text.split('\n').slice(0, -1).entries()) {
    if (line === '') continue;
    const parsed = parseLine(line);
    if (typeof parsed !== 'string') {
      if (runs.get(parsed.runId)?.outcome === undefined) runs.set(parsed.runId, parsed);
    } else {
      problems.push({ line: index + 1, problem: parsed });
      foreign.push(line);
    }
  }
  return { text, runs: [...runs.values()], problems, foreign };
}

/** The record, or what is wrong with the line. */
function parseLine(line: string): RunRecord | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return `not JSON: ${line.slice(0, 60)}`;
  }
  const result = recordSchema.safeParse(value);
  if (result.success) return result.data;
  const { schemaVersion, runId } = Object(value) as { schemaVersion?: unknown; runId?: unknown };
  const run = typeof runId === 'string' ? `run ${runId}` : 'no run id';
  if (schemaVersion !== 1) return `${run}: schemaVersion ${String(schemaVersion)}, this build knows 1`;
  return `${run}: ${z.prettifyError(result.error).replaceAll('\n', ' ')}`;
}

function compactJournal({ runs, foreign }: ParsedJournal): string {
  const closed = runs
    .filter(isSettled)
    .toSorted((a, b) => a.atMs - b.atMs)
    .slice(-KEPT_CLOSED_RUNS);
  const kept = runs.filter((run) => !isSettled(run) || closed.includes(run));
  return [...foreign, ...kept.map((run) => JSON.stringify(run))].map((line) => `${line}\n`).join('');
}

/** Closed, and nothing of it is left on a machine: only such a run may ever be forgotten. */
function isSettled(run: RunRecord): boolean {
  return run.outcome !== undefined && run.outcome !== 'Stuck' && run.outcome !== 'Unknown';
}

/** Resolves when the line is on the disk. What a failed write leaves behind is cut off, or ended, before the next. */
async function append(path: string, record: RunRecord): Promise<void> {
  try {
    const handle = await open(path, 'a+');
    try {
      const { size } = await handle.stat();
      const torn = size > 0 && (await handle.read(Buffer.alloc(1), 0, 1, size - 1)).buffer[0] !== 0x0a;
      if (torn) await handle.truncate(await endOfLastLine(path));
      await handle.appendFile(`${JSON.stringify(record)}\n`);
      await handle.datasync();
      if (size === 0) await syncFolder(dirname(path));
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw stateWriteError(path, cause);
  }
}

async function endOfLastLine(path: string): Promise<number> {
  return (await readFile(path)).lastIndexOf(0x0a) + 1;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return '';
    throw new StateError('STATE_UNWRITABLE', path, 'cannot read the run journal', { cause });
  }
}
