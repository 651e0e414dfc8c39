/**
 * What an engine's refusal means to the caller:
 * CONFLICT - someone wrote the object since it was read; NAME_TAKEN - an object of this name exists, or is in use;
 * NOT_FOUND; NOT_A_MANAGER - this engine cannot answer for the swarm (now);
 * REFUSED - the request is wrong or not allowed; UNAVAILABLE - no answer, or an internal error.
 */
export type EngineErrorCode =
  | 'CONFLICT'
  | 'NAME_TAKEN'
  | 'NOT_FOUND'
  | 'NOT_A_MANAGER'
  | 'REFUSED'
  | 'UNAVAILABLE';

/** A call to an engine failed; `code` says what to do about it. */
export class EngineError extends Error {
  readonly code: EngineErrorCode;
  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EngineError';
    this.code = code;
  }
}

/** The object moved on since it was read: read it again and compute the write anew, never just retry. */
export class ConflictError extends EngineError {
  constructor(message: string, options?: ErrorOptions) {
    super('CONFLICT', message, options);
    this.name = 'ConflictError';
  }
}
