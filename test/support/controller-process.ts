import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

/** The built command line, as users run it. */
export const controllerBin = join(import.meta.dirname, '..', '..', 'controller', 'main.js');

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one verb to its end; `log` (a file) gets everything that it says, for the reader of a failed test. */
export async function runController(args: readonly string[], log: string): Promise<CommandResult> {
  const child = spawn(process.execPath, [controllerBin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  appendFileSync(log, `$ controller ${args.join(' ')}\n`);
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += String(chunk);
    appendFileSync(log, chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += String(chunk);
    appendFileSync(log, chunk);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** The same, parsed as JSON; rejects when the verb failed. */
export async function controllerJson<T>(args: readonly string[], log: string): Promise<T> {
  const { code, stdout, stderr } = await runController([...args, '-o', 'json'], log);
  if (code !== 0) throw new Error(`controller ${args.join(' ')} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** Starts a controller that stays (`--watch`); the caller ends it, by its own pid. */
export function startController(args: readonly string[], log: string): ChildProcess {
  const child = spawn(process.execPath, [controllerBin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  appendFileSync(log, `$ controller ${args.join(' ')} &\n`);
  child.stdout?.on('data', (chunk: Buffer) => appendFileSync(log, chunk));
  child.stderr?.on('data', (chunk: Buffer) => appendFileSync(log, chunk));
  return child;
}

/** Sends a signal and resolves when the process is gone. */
export async function endController(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill(signal);
  await closed;
}

/** Polls until `look` gives a value; rejects after `deadlineMs` with what was awaited. */
export async function eventually<T>(
  what: string,
  deadlineMs: number,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const endMs = Date.now() + deadlineMs;
  let last: unknown;
  while (Date.now() < endMs) {
    try {
      const value = await look();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`${what}: not within ${deadlineMs / 1000} s`, { cause: last });
}
