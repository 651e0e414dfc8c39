import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Outcome } from '../../state-machines/contract.ts';
import type { StruckOptions } from './struck-controller.ts';

/** A process that runs one fault and is struck on its way. */
export interface Controller {
  /** Whose packets are its own: nobody else on this machine is in it. */
  readonly group: number;
  /** Resolves when it is struck, with `false` when it has ended before. */
  readonly struck: Promise<boolean>;
  readonly ended: Promise<unknown>;
  hasEnded(): boolean;
  signal(name: NodeJS.Signals): void;
  /** Waits for its end; resolves with what was wrong with it. */
  finish(): Promise<readonly string[]>;
  /** Ends the hold, if it lasts, and waits. */
  endHold(): Promise<readonly string[]>;
  /** What it said of its run, once it has ended by itself. */
  result(): { readonly outcome: Outcome; readonly message?: string } | undefined;
}

/** Beyond the time after which a run that cannot be healed is called stuck. */
const endLimitMs = 240_000;

/** Starts struck-controller.ts in a group of its own. */
export function startController(options: StruckOptions, group: number): Controller {
  const script = join(import.meta.dirname, 'struck-controller.js');
  const child = spawn(process.execPath, [script, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    gid: group,
  });
  let said = '';
  let over = false;
  const ended = once(child, 'exit').finally(() => (over = true));
  const struck = new Promise<boolean>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.startsWith('struck')) resolve(true);
    });
    child.once('close', () => resolve(said.startsWith('struck')));
  }).then(async (isStruck) => {
    if (isStruck && options.signal === 'SIGSTOP') await untilStopped(child.pid!, () => over);
    return isStruck;
  });
  const result: Controller['result'] = () => {
    const line = said.split('\n').find((text) => text.startsWith('{'));
    return line === undefined ? undefined : (JSON.parse(line) as ReturnType<Controller['result']>);
  };
  const finish = async () => {
    const limit = new AbortController();
    const late = sleep(endLimitMs, true, { signal: limit.signal }).catch(() => false);
    const isLate = (await Promise.race([ended, late])) === true;
    limit.abort();
    if (isLate) child.kill('SIGKILL');
    await ended;
    if (isLate) return [`the controller did not end within ${endLimitMs / 1000} s`];
    return result() ? [] : [`the controller broke down (${child.exitCode ?? child.signalCode})`];
  };
  return {
    ...{ group, struck, ended, finish, result },
    hasEnded: () => over,
    signal: (name) => void child.kill(name),
    async endHold() {
      child.kill('SIGTERM');
      return finish();
    },
  };
}

async function untilStopped(pid: number, isOver: () => boolean): Promise<void> {
  for (;;) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (isOver() || / T /.test(stat)) return;
    await sleep(20);
  }
}
