import type { LogLevel } from '../log.ts';
import { askForLevel } from '../log-level.ts';
import { readLockHolder } from '../status/state-lock.ts';
import type { CliContext, ExitCode } from './cli-context.ts';

/** `controller log-level LEVEL`: the operator of this state directory logs at that level within a second or two. */
export async function logLevel({ stateDir, note }: CliContext, level: LogLevel): Promise<ExitCode> {
  const holder = await readLockHolder(stateDir);
  if (!holder) {
    note(`no operator works in ${stateDir}`);
    return 1;
  }
  await askForLevel(stateDir, level);
  return 0;
}
