import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How a command of this machine is run; what is left out is nothing. */
export interface CommandOptions {
  readonly cwd?: string;
  /** Gets each line of both outputs as it comes. */
  readonly onLine?: (line: string) => void;
}

/** A command of this machine that could not be started or ended with an error; the message ends in its last lines. */
export class CommandError extends Error {
  readonly code = 'COMMAND_FAILED';
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CommandError';
  }
}

const LINES_IN_ERROR = 15;

/** Runs a program of this machine with exactly these arguments (no shell) and resolves to its standard output. */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const child = spawn(file, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  const output: string[] = [];
  const recent: string[] = [];
  const take = (line: string): void => {
    recent.push(line);
    if (recent.length > LINES_IN_ERROR) recent.shift();
    options.onLine?.(line);
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    output.push(line);
    take(line);
  });
  createInterface({ input: child.stderr }).on('line', take);
  const ended = await new Promise<string | null>((resolve, reject) => {
    child.once('error', (cause) => {
      reject(
        signal.aborted
          ? signal.reason
          : new CommandError(`${file} cannot be run: ${cause.message}`, { cause }),
      );
    });
    child.once('close', (code, name) => resolve(code === 0 ? null : (name ?? `exit status ${code}`)));
  });
  if (ended === null) return output.join('\n');
  throw new CommandError(`${[file, ...args].join(' ')} ended with ${ended}:\n${recent.join('\n')}`);
}
