import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
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
