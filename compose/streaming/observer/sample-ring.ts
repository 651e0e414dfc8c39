import type http from 'node:http';
import type { Sample } from '../../../state-machines/recovery/sample.ts';

/** A reader that is so far behind is cut off; it comes back with `since`. */
const maximumBacklogBytes = 4 * 1024 * 1024;

/** The newest rows, and everyone who reads along. */
export class SampleRing {
  private readonly keepMs: number;
  private readonly rows: { readonly atMs: number; readonly line: string }[] = [];
  private readonly readers = new Set<http.ServerResponse>();

  constructor(keepMs: number) {
    this.keepMs = keepMs;
  }

  /** Keeps a row and hands it to the readers. */
  add(sample: Sample): void {
    const line = `${JSON.stringify(sample)}\n`;
    this.rows.push({ atMs: sample.atMs, line });
    while (this.rows[0]!.atMs < sample.atMs - this.keepMs) this.rows.shift();
    for (const reader of this.readers) {
      if (reader.writableLength > maximumBacklogBytes) reader.destroy();
      else reader.write(line);
    }
  }

  /** Writes the rows after `sinceMs`, then each new one, until the reader leaves. */
  follow(reader: http.ServerResponse, sinceMs: number): void {
    reader.setHeader('content-type', 'application/x-ndjson');
    reader.flushHeaders();
    for (const { atMs, line } of this.rows) if (atMs > sinceMs) reader.write(line);
    this.readers.add(reader);
    reader.once('close', () => this.readers.delete(reader));
  }
}
