import { appendFile, mkdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ObjectEvent } from '../../crds/status.ts';
import type { StatusStore } from './status-store.ts';

/** A line of the log: an event, and whose it is. A repeat is a line again, with its count. */
export interface LoggedEvent extends ObjectEvent {
  readonly kind: string;
  readonly name: string;
}

const LOG_BYTES = 1 << 20;

/** The newest lines, and those before them, which make room for newer ones. */
export const eventLogPaths = (stateDir: string) => ({
  newest: join(stateDir, 'events.ndjson'),
  before: join(stateDir, 'events.1.ndjson'),
});

/**
 * Appends events to `<state>/events.ndjson`, two files of a megabyte at most. Best effort, as in Kubernetes: the statuses
 * are the truth, and a disk that takes no line is told of there.
 */
export class EventLog {
  readonly #stateDir: string;
  readonly #limitBytes: number;
  #last: Promise<void> = Promise.resolve();

  constructor(stateDir: string, limitBytes = LOG_BYTES) {
    this.#stateDir = stateDir;
    this.#limitBytes = limitBytes;
  }

  append(events: readonly LoggedEvent[]): Promise<void> {
    if (events.length === 0) return this.#last;
    const text = events.map((event) => `${JSON.stringify(event)}\n`).join('');
    this.#last = this.#last.then(() => this.#write(text)).catch(() => {});
    return this.#last;
  }

  async #write(text: string): Promise<void> {
    const { newest, before } = eventLogPaths(this.#stateDir);
    const { size } = await stat(newest).catch(() => ({ size: 0 }));
    if (size > 0 && size + Buffer.byteLength(text) > this.#limitBytes) await rename(newest, before);
    await mkdir(dirname(newest), { recursive: true });
    await appendFile(newest, text);
  }
}

/** A store that logs what is new among the events of each status that it is given. */
export function withEventLog<S extends { readonly events?: readonly ObjectEvent[] }>(
  store: StatusStore<S>,
  kind: string,
  log: EventLog,
): StatusStore<S> {
  const known = new Map<string, readonly ObjectEvent[]>();
  return {
    ...store,
    async write(name, status) {
      const before = known.get(name) ?? (await store.read(name)).status?.events ?? [];
      await store.write(name, status);
      const after = status.events ?? [];
      known.set(name, after);
      await log.append(newOnes(before, after).map((event) => ({ kind, name, ...event })));
    },
    async remove(name) {
      known.delete(name);
      await store.remove(name);
    },
  };
}

function newOnes(before: readonly ObjectEvent[], after: readonly ObjectEvent[]): readonly ObjectEvent[] {
  const line = ({ type, reason, message, count, lastTimestamp }: ObjectEvent) =>
    JSON.stringify([type, reason, message, count, lastTimestamp]);
  const seen = new Set(before.map(line));
  return after.filter((event) => !seen.has(line(event)));
}

/** A last line without its end is still being written. */
export function parseEvents(text: string): readonly LoggedEvent[] {
  return text
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as LoggedEvent];
      } catch {
        return []; // torn by a crash
      }
    });
}
