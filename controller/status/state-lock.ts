import { spawn } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../state-machines/contract.ts';
import { errnoOf, StateError, stateWriteError } from './state-error.ts';

/** Who writes to a state directory at this moment. */
export interface LockHolder {
  readonly pid: number;
  readonly host: string;
  /** The verb of the command line: `watch`, `apply`, `delete`, ... */
  readonly verb: string;
  readonly sinceMs: number;
}

export interface StateLock {
  /** Lets the next writer in. Ending the process, however, does the same. */
  release(): void;
}

/** A holder that was just killed, or a reader that looks for an instant, must not refuse us. */
const TRIES = 10;
const BETWEEN_TRIES_MS = 50;

/**
 * Makes this process the only writer of `stateDir` until it releases or dies, kill -9 included. The lock is the
 * kernel's, flock(2) on a descriptor that stays open here: nothing to clean up, no process id to mistake. Node has no
 * flock, so util-linux's `flock` locks the descriptor that it inherits and goes: the lock belongs to the open file, not
 * to the process that asked for it, and Node's own children do not inherit it (O_CLOEXEC).
 * Rejects with StateError `STATE_LOCKED` that names the holder.
 */
export async function lockState(
  stateDir: string,
  verb: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<StateLock> {
  const path = lockPath(stateDir);
  const descriptor = await openLockFile(stateDir, path);
  try {
    for (let tries = 1; !(await flock(path, descriptor, '-x')); tries++) {
      if (tries === TRIES) throw lockedError(path, await readHolder(path), clock.now());
      await clock.sleep(BETWEEN_TRIES_MS, signal);
    }
    writeHolder(path, descriptor, { pid: process.pid, host: hostname(), verb, sinceMs: clock.now() });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  let held = true;
  return {
    release() {
      if (!held) return;
      held = false;
      try {
        ftruncateSync(descriptor); // a name left behind would be taken for the next holder's
      } finally {
        closeSync(descriptor);
      }
    },
  };
}

/** Who holds the lock now; undefined when nobody does. Takes nothing from anybody. */
export async function readLockHolder(stateDir: string): Promise<LockHolder | undefined> {
  const path = lockPath(stateDir);
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const free = await flock(path, descriptor, '-s');
    return free ? undefined : ((await readHolder(path)) ?? UNNAMED);
  } finally {
    closeSync(descriptor);
  }
}

/** The instant between taking the lock and writing the name. */
const UNNAMED: LockHolder = { pid: 0, host: 'unknown', verb: 'unknown', sinceMs: 0 };

function lockPath(stateDir: string): string {
  return join(stateDir, 'lock');
}

async function openLockFile(stateDir: string, path: string): Promise<number> {
  try {
    await mkdir(stateDir, { recursive: true });
    return openSync(path, 'a+', 0o644);
  } catch (cause) {
    throw stateWriteError(path, cause);
  }
}

function writeHolder(path: string, descriptor: number, holder: LockHolder): void {
  try {
    ftruncateSync(descriptor);
    writeSync(descriptor, `${JSON.stringify(holder)}\n`);
  } catch (cause) {
    throw stateWriteError(path, cause);
  }
}

async function readHolder(path: string): Promise<LockHolder | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as LockHolder;
  } catch {
    return undefined; // empty or half-written: the lock counts, the name is for people
  }
}

/** Whether the lock on the open file is ours now; false when another holds it. */
function flock(path: string, descriptor: number, mode: '-x' | '-s'): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['-n', mode, '3'], { stdio: ['ignore', 'ignore', 'ignore', descriptor] });
    child.once('error', (cause) =>
      reject(new StateError('FLOCK_MISSING', 'flock', 'cannot be run; it is part of util-linux', { cause })),
    );
    child.once('close', (code) => {
      if (code === 0 || code === 1) resolve(code === 0);
      else reject(new StateError('STATE_UNWRITABLE', path, `cannot be locked: flock ended with ${code}`));
    });
  });
}

function lockedError(path: string, holder: LockHolder | undefined, nowMs: number): StateError {
  if (!holder) return new StateError('STATE_LOCKED', path, 'in use by another process');
  const { pid, host, verb, sinceMs } = holder;
  const forSeconds = Math.max(0, Math.round((nowMs - sinceMs) / 1000));
  const since = new Date(sinceMs).toISOString();
  return new StateError(
    'STATE_LOCKED',
    path,
    `in use by \`controller ${verb}\`, pid ${pid} on ${host}, since ${since} (${forSeconds} s)`,
  );
}
