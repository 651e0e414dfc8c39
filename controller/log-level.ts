import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../state-machines/contract.ts';
import { LOG_LEVELS, type Log, type LogLevel } from './log.ts';
import { writeDurably } from './status/write-durably.ts';

const lookEveryMs = 1_000;

const pathOf = (stateDir: string) => join(stateDir, 'log-level');

/** Asks the operator of a state directory to log at another level from now on, until it ends. */
export function askForLevel(stateDir: string, level: LogLevel): Promise<void> {
  return writeDurably(pathOf(stateDir), `${level}\n`);
}

/** Sets the log's level to what is asked for, until the signal; what was asked of an earlier process counts no more. */
export async function followLevel(
  stateDir: string,
  log: Log,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(stateDir);
  await rm(path, { force: true }).catch(() => {}); // a disk that takes nothing is told of elsewhere
  for (let before = ''; ; await clock.sleep(lookEveryMs, signal)) {
    const asked = (await readFile(path, 'utf8').catch(() => '')).trim();
    if (asked === before || asked === '') continue;
    before = asked;
    const level = LOG_LEVELS.find((each) => each === asked);
    if (level === undefined) log.warn({ asked }, 'no such log level');
    else setLevel(log, level);
  }
}

/** Said at the level that says more of the two. */
function setLevel(log: Log, level: LogLevel): void {
  const from = log.level;
  const tell = () => log.info({ from, to: level }, 'log level set');
  tell();
  const wasSaid = log.isLevelEnabled('info');
  log.level = level;
  if (!wasSaid) tell();
}
