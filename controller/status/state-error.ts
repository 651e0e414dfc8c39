/** Why the state directory could not be used. */
export type StateErrorCode =
  | 'STATE_FULL'
  | 'STATE_UNWRITABLE'
  | 'STATE_LOCKED'
  | 'STATE_FOREIGN'
  | 'STATE_UNREADABLE'
  | 'FLOCK_MISSING';

/** The state directory refused: full, not writable, in use by another process, or written by another version. */
export class StateError extends Error {
  readonly code: StateErrorCode;
  readonly path: string;
  constructor(code: StateErrorCode, path: string, message: string, options?: ErrorOptions) {
    super(`${path}: ${message}`, options);
    this.name = 'StateError';
    this.code = code;
    this.path = path;
  }
}

const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** Wraps what a failed write threw, telling a full disk (mends itself when space returns) from the rest. */
export function stateWriteError(path: string, cause: unknown): StateError {
  const code = errnoOf(cause);
  if (code && FULL.has(code))
    return new StateError('STATE_FULL', path, 'no space left to save state', { cause });
  return new StateError('STATE_UNWRITABLE', path, `cannot save state (${code ?? String(cause)})`, { cause });
}

/** Whether something failed because the disk of the state directory is full. */
export function isStateFull(error: unknown): boolean {
  return error instanceof StateError && error.code === 'STATE_FULL';
}

/** The errno of a Node system error (`ENOENT`, ...), if it is one. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
