import { AsyncLocalStorage } from 'node:async_hooks';
import { pino } from 'pino';

/** From the one that says most. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  /** One line for people, or one JSON object, per entry. */
  readonly format: 'pretty' | 'json';
  /** Standard error, or a stand-in: standard output belongs to the answers of the command line. */
  readonly destination: { write(text: string): unknown };
}

/** A pino logger, and fields for everything that is logged below a call. */
export interface Log extends pino.Logger {
  /** Adds `fields` to every line that `work` logs, however deep, without handing a logger down. */
  within<T>(fields: Readonly<Record<string, string>>, work: () => T): T;
}

/** Field names whose values never reach a log, at the top or up to two levels down. */
const SECRET_FIELDS = [
  'password',
  'passphrase',
  'secret',
  'token',
  'joinToken',
  'privateKey',
  'accessKey',
  'secretKey',
  'sessionToken',
  'authorization',
  'env',
];

/** Constant lower-case messages, values in fields; `info` means a change made in the world. */
export function createLog({ level, format, destination }: LogOptions): Log {
  const context = new AsyncLocalStorage<Readonly<Record<string, string>>>();
  const stream =
    format === 'json' ? destination : { write: (line: string) => destination.write(prettyLine(line)) };
  const logger = pino(
    {
      level,
      base: null,
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
      serializers: { err: describeError },
      mixin: () => ({ ...context.getStore() }),
    },
    stream,
  );
  const within = <T>(fields: Readonly<Record<string, string>>, work: () => T): T =>
    context.run({ ...context.getStore(), ...fields }, work);
  return Object.assign(logger, { within });
}

interface ErrorFields {
  readonly code?: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
}

/** Errors of ours and of the system carry a code and need no stack; one without is a bug, and its stack is wanted. */
function describeError(error: unknown): ErrorFields {
  if (!(error instanceof Error)) return { message: String(error) };
  const code = 'code' in error && error.code !== undefined ? String(error.code) : undefined;
  return {
    ...(code ? { code } : error.stack ? { stack: error.stack } : {}),
    message: error.message,
    ...(error.cause !== undefined && { cause: describeError(error.cause) }),
  };
}

/** `19:04:05.123 WARN  node unreachable  node=node4 err="EXEC_FAILED node4: timed out"` */
function prettyLine(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as PrettyEntry;
  const clock = new Date(time).toISOString().slice(11, 23);
  const label = pino.levels.labels[level]?.toUpperCase().padEnd(5) ?? String(level);
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${prettyValue(value)}`);
  const cause = err ? [`err=${JSON.stringify(errorChain(err))}`] : [];
  const stack = err?.stack ? `\n${err.stack}` : '';
  return `${clock} ${label} ${[msg ?? '', ...shown, ...cause].join('  ')}${stack}\n`;
}

interface PrettyEntry {
  readonly time: number;
  readonly level: number;
  readonly msg?: string;
  readonly err?: ErrorFields;
  readonly [field: string]: unknown;
}

function prettyValue(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

function errorChain({ code, message, cause }: ErrorFields): string {
  const own = code ? `${code} ${message}` : message;
  return cause ? `${own}: ${errorChain(cause)}` : own;
}
