import type { Readable } from 'node:stream';
import { EngineError } from './engine-error.ts';
import type { EngineEvent } from './swarm-types.ts';

interface RawEvent {
  readonly Type?: string;
  readonly Action?: string;
  readonly Actor?: { readonly ID?: string; readonly Attributes?: { readonly name?: string } };
  readonly timeNano?: number;
}

/**
 * Splits the engine's stream of one JSON object per line; chunks cut lines anywhere.
 * Ends quietly with the stream or the signal; throws UNAVAILABLE when the connection is lost.
 */
export async function* readEvents(stream: Readable, signal: AbortSignal): AsyncIterable<EngineEvent> {
  let rest = '';
  stream.setEncoding('utf8');
  try {
    for await (const chunk of stream) {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') yield toEvent(JSON.parse(line) as RawEvent);
    }
  } catch (error) {
    if (!signal.aborted)
      throw new EngineError('UNAVAILABLE', 'the stream of events broke off', { cause: error });
  }
}

const toEvent = (raw: RawEvent): EngineEvent => ({
  type: raw.Type ?? '',
  action: raw.Action ?? '',
  actor: raw.Actor?.Attributes?.name ?? raw.Actor?.ID ?? '',
  timeNano: raw.timeNano ?? 0,
});
