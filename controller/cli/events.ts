import { readFile, stat } from 'node:fs/promises';
import { systemClock } from '../clock.ts';
import { eventLogPaths, type LoggedEvent, parseEvents } from '../status/event-log.ts';
import { type CliContext, type ExitCode, formatTable } from './cli-context.ts';

const pollMs = 500;

/** `controller events [NAME] [--follow]`: what happened, newest last; as JSON a line each, also when it goes on. */
export async function events(
  context: CliContext,
  { name, follow }: { readonly name?: string; readonly follow: boolean },
): Promise<ExitCode> {
  const { stateDir, signal, output, print } = context;
  const isWanted = (event: LoggedEvent) => name === undefined || event.name === name;
  const tail = new Tail(eventLogPaths(stateDir));
  const past = newestOfEach(parseEvents(await tail.read())).filter(isWanted);
  const tell = (all: readonly LoggedEvent[]) => {
    if (output === 'table') print(formatEvents(all).join('\n'));
    else for (const event of all) print(JSON.stringify(event));
  };
  if (output === 'table') print(formatTable(head, past.map(rowOf)));
  else tell(past);
  while (follow && !signal.aborted) {
    const news = parseEvents(await tail.read()).filter(isWanted);
    if (news.length > 0) tell(news);
    await systemClock.sleep(pollMs, signal).catch(() => {}); // asked to end
  }
  return 0;
}

const head = ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'COUNT', 'MESSAGE'];

const rowOf = ({ lastTimestamp, type, reason, kind, name, count, message }: LoggedEvent) => [
  ...[lastTimestamp, type, reason, `${kind}/${name}`, `${count}`, message],
];

/** Rows that follow a table: nobody knows how wide those after them are. */
const formatEvents = (all: readonly LoggedEvent[]) => all.map((event) => rowOf(event).join('   '));

/** Repeats are one event, where the last one was. */
function newestOfEach(all: readonly LoggedEvent[]): readonly LoggedEvent[] {
  const newest = new Map<string, LoggedEvent>();
  for (const event of all) {
    const { kind, name, type, reason, message } = event;
    const key = JSON.stringify([kind, name, type, reason, message]);
    newest.delete(key);
    newest.set(key, event);
  }
  return [...newest.values()];
}

/** Reads on from where it was left, in whole lines; what went on in a file that has made room is read to its end first. */
class Tail {
  readonly #paths: ReturnType<typeof eventLogPaths>;
  #inode: number | undefined;
  #offset = 0;

  constructor(paths: ReturnType<typeof eventLogPaths>) {
    this.#paths = paths;
  }

  async read(): Promise<string> {
    const { newest, before } = this.#paths;
    const inode = await stat(newest).then(
      ({ ino }) => ino,
      () => undefined,
    );
    if (inode === this.#inode) return inode === undefined ? '' : this.#rest(newest);
    const isLeft =
      this.#inode === undefined || (await stat(before).catch(() => undefined))?.ino === this.#inode;
    const rest = isLeft ? await this.#rest(before) : '';
    this.#inode = inode;
    this.#offset = 0;
    return inode === undefined ? rest : rest + (await this.#rest(newest));
  }

  async #rest(path: string): Promise<string> {
    const bytes = (await readFile(path).catch(() => Buffer.alloc(0))).subarray(this.#offset);
    const end = bytes.lastIndexOf(0x0a) + 1;
    this.#offset += end;
    return bytes.toString('utf8', 0, end);
  }
}
