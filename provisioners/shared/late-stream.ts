import { Duplex } from 'node:stream';
import { untilAborted } from './until-aborted.ts';

/**
 * A stream that exists before its connection does, so that http.Agent can count it, and that behaves as node's
 * streams should: ssh2's channels neither honour destroy() nor finish a write that was pending when they closed.
 */
export class LateStream extends Duplex {
  readonly #open: (signal: AbortSignal) => Promise<Duplex>;
  readonly #abandoned = new AbortController();
  #inner: Duplex | undefined;

  constructor(open: (signal: AbortSignal) => Promise<Duplex>) {
    super({ allowHalfOpen: false });
    this.#open = open;
  }

  override _construct(callback: (error?: Error | null) => void): void {
    const { signal } = this.#abandoned;
    untilAborted(this.#open(signal), signal, discard).then(
      (inner) => {
        this.#attach(inner);
        callback();
        this.emit('connect');
      },
      (error: Error) => callback(error),
    );
  }

  override _read(): void {
    this.#inner?.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#inner?.write(chunk, encoding, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#inner?.end(() => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#abandoned.abort(error ?? new Error('stream destroyed'));
    if (this.#inner) discard(this.#inner);
    callback(error);
  }

  #attach(inner: Duplex): void {
    this.#inner = inner;
    inner.on('data', (chunk: Buffer) => {
      if (!this.destroyed && !this.push(chunk)) inner.pause();
    });
    let ended = false;
    inner.on('end', () => {
      ended = true;
      this.push(null);
    });
    inner.on('error', (error) => this.destroy(error));
    // What was received before an orderly end is still to be read.
    inner.on('close', () =>
      ended && !this.readableEnded ? this.once('end', () => this.destroy()) : this.destroy(),
    );
  }

  // What http expects of a socket and a channel has no use for.
  setKeepAlive(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setTimeout(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

/** Unread data would keep an ssh2 channel from ever saying that it closed. */
const discard = (inner: Duplex): void => {
  inner.on('error', () => {});
  inner.resume();
  inner.destroy();
};
