import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

// A switch is a process of this host that takes something from a machine, its plug or its network, and gives it back. It
// belongs to no controller, and is found by a word among its arguments, right before the id of the machine.

const pollMs = 50;

/** Starts a switch in a session of its own; resolves when it exists. */
export const throwSwitch = async (program: string, args: readonly string[]): Promise<void> => {
  const child = spawn(program, args, { detached: true, stdio: 'ignore' });
  await once(child, 'spawn');
  child.unref();
};

/** Whether one is at work. */
export const isThrown = async (mark: string, machine: string): Promise<boolean> =>
  (await switchesOf(mark, machine)).length > 0;

/** Asks the switches of a machine, by SIGTERM, to put it on again; resolves when none is left. */
export const endSwitch = async (mark: string, machine: string, signal: AbortSignal): Promise<void> => {
  for (;;) {
    const pids = await switchesOf(mark, machine);
    if (pids.length === 0) return;
    for (const pid of pids) tell(pid);
    await sleep(pollMs, undefined, { signal });
  }
};

const tell = (pid: number): void => {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // ended meanwhile
  }
};

/** From the world, not from memory: whoever started it may be dead. */
const switchesOf = async (mark: string, machine: string): Promise<readonly number[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
      const at = words.indexOf(mark);
      return at > 0 && words[at + 1] === machine ? [Number(pid)] : [];
    }),
  );
  return found.flat();
};
