import { createReadStream, createWriteStream, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Sample } from '../../state-machines/recovery/sample.ts';

/** Where a trial's raw rows go. */
export interface SampleFile {
  /** Below the state directory, as status names it. */
  readonly path: string;
  write(sample: Sample): void;
  /** Resolves when all rows are with the system. */
  close(): Promise<void>;
}

/** Keeps the rows of one trial as NDJSON, `samples/<runId>.ndjson`. A disk that is full costs rows, not the trial. */
export function openSampleFile(stateDir: string, runId: string): SampleFile {
  const path = join('samples', `${runId}.ndjson`);
  const file = join(stateDir, path);
  mkdirSync(dirname(file), { recursive: true });
  const stream = createWriteStream(file, { flags: 'a' });
  let failed = false;
  stream.on('error', () => {
    failed = true;
  });
  return {
    path,
    write(sample) {
      if (!failed) stream.write(`${JSON.stringify(sample)}\n`);
    },
    close: () =>
      new Promise((resolve) =>
        failed ? resolve() : stream.end(() => resolve()).on('error', () => resolve()),
      ),
  };
}

/**
 * The rows of a file that `openSampleFile` has written, one after another; `onBytes` sees the file as it is. Where somebody
 * has gzipped it, `file` with the ending .gz is read. What is no row, such as a line that was cut off with its writer, is
 * left out. Rejects when the file cannot be read.
 */
export async function* readSampleFile(
  file: string,
  onBytes?: (bytes: Buffer) => void,
): AsyncIterable<Sample> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const bytes of openRows(file)) {
    onBytes?.(bytes as Buffer);
    const lines = (rest + decoder.decode(bytes as Buffer, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const row = parseRow(line);
      if (row) yield row;
    }
  }
  const last = parseRow(rest);
  if (last) yield last;
}

function openRows(file: string): Readable {
  const open = (path: string) => createReadStream(path, { highWaterMark: 1 << 20 });
  const packed = `${file}.gz`;
  if (existsSync(file) || !existsSync(packed)) return open(file);
  return pipeline(open(packed), createGunzip(), () => {}); // who reads it is told what went wrong
}

const numbers = ['atMs', 'ackedMs', 'intended', 'acked'] as const satisfies readonly (keyof Sample)[];

function parseRow(line: string): Sample | undefined {
  if (line === '') return undefined;
  try {
    const row = JSON.parse(line) as Sample | null;
    return numbers.every((name) => Number.isFinite(row?.[name])) && row?.correctness ? row : undefined;
  } catch {
    return undefined;
  }
}
