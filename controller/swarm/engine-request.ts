import type { Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import { deadline } from '../../provisioners/deadline.ts';
import { ConflictError, EngineError } from './engine-error.ts';

interface EngineRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** A list repeats the name. */
  readonly query?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: unknown;
  readonly upload?: Readable;
  /** How long an answer is waited for, unless it is a stream; a minute when nothing is said. */
  readonly limitMs?: number;
}

/** Three times as long as the engine itself gives a node to join. Who asks again finds out what became of it. */
const answerMs = 60_000;

/** The part of docker-modem that dockerode leaves untyped. */
interface Modem {
  dial(options: object, callback: (error: Error | null, answer: unknown) => void): void;
}

/**
 * One call to the Engine API. It goes around dockerode's per-endpoint methods, which put bodies into URLs and
 * specs into the registry header when called as documented; connections and streams stay dockerode's.
 */
function dial(
  docker: Dockerode,
  request: EngineRequest,
  stream: boolean,
  signal: AbortSignal,
): Promise<unknown> {
  signal.throwIfAborted();
  const { limitMs = answerMs } = request;
  const tooLong = stream ? undefined : deadline(limitMs);
  const options = {
    method: request.method,
    // With an empty _query the modem leaves the address alone.
    path: `${request.path}?${queryOf(request)}`,
    options: { _query: {}, _body: request.body ?? {} },
    statusCodes: { 200: true, 201: true, 204: true },
    abortSignal: tooLong ? AbortSignal.any([signal, tooLong]) : signal,
    isStream: stream,
    ...(request.upload === undefined ? {} : { file: request.upload }),
  };
  const modem: Modem = docker.modem;
  return new Promise((resolve, reject) => {
    modem.dial(options, (error, answer) => {
      if (error === null || error === undefined) resolve(answer);
      else if (signal.aborted) reject(signal.reason as Error);
      else if (tooLong?.aborted)
        reject(new EngineError('UNAVAILABLE', `${name(request)}: no answer within ${limitMs / 1000} s`));
      else reject(toEngineError(error, request));
    });
  });
}

/** A call whose answer is a JSON list. */
export async function requestList<T>(
  docker: Dockerode,
  request: EngineRequest,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const answer = await dial(docker, request, false, signal);
  // Go writes an empty list as null, which docker-modem hands over as the bytes it could not use.
  if (answer === null || (Buffer.isBuffer(answer) && answer.toString().trim() === 'null')) return [];
  if (!Array.isArray(answer))
    throw new EngineError('UNAVAILABLE', `${name(request)}: the answer is not a list`);
  return answer as T[];
}

/** A call whose answer is a JSON object. */
export async function requestObject<T extends object>(
  docker: Dockerode,
  request: EngineRequest,
  signal: AbortSignal,
): Promise<T> {
  const answer = await dial(docker, request, false, signal);
  const isObject = typeof answer === 'object' && answer !== null && !Buffer.isBuffer(answer);
  if (!isObject) throw new EngineError('UNAVAILABLE', `${name(request)}: the answer is cut short`);
  return answer as T;
}

/** A call whose answer does not matter. */
export async function requestDone(
  docker: Dockerode,
  request: EngineRequest,
  signal: AbortSignal,
): Promise<void> {
  await dial(docker, request, false, signal);
}

/** A call that answers with a stream. */
export async function requestStream(
  docker: Dockerode,
  request: EngineRequest,
  signal: AbortSignal,
): Promise<Readable> {
  return (await dial(docker, request, true, signal)) as Readable;
}

const queryOf = ({ query = {} }: EngineRequest): URLSearchParams =>
  new URLSearchParams(
    Object.entries(query).flatMap(([key, value]) =>
      [value].flat().map((one): [string, string] => [key, one]),
    ),
  );

const name = (request: EngineRequest): string => `${request.method} ${request.path}`;

function toEngineError(
  error: Error & { statusCode?: number; json?: unknown },
  request: EngineRequest,
): EngineError {
  const text = `${name(request)}: ${engineMessage(error)}`;
  // The swarm reports a stale version as an internal error: only its text tells.
  if (error.message.includes('update out of sequence')) return new ConflictError(text, { cause: error });
  return new EngineError(codeOf(error.statusCode, error.message), text, { cause: error });
}

function engineMessage(error: Error & { json?: unknown }): string {
  const json = error.json;
  if (typeof json === 'object' && json !== null && 'message' in json) return String(json.message);
  // An answer that was to be a stream comes without its JSON, but with the modem's own preface.
  return error.message.replace(/^\(HTTP code \d+\) .*? - /, '').trim();
}

function codeOf(status: number | undefined, message: string): EngineError['code'] {
  if (status === 404) return 'NOT_FOUND';
  if (status === 409) return 'NAME_TAKEN';
  if (status === 503 && message.includes('not a swarm manager')) return 'NOT_A_MANAGER';
  if (status !== undefined && status >= 400 && status < 500) return 'REFUSED';
  return 'UNAVAILABLE';
}
