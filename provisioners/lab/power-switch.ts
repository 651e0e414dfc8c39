import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineSocket } from '../shared/docker-client.ts';
import { thawScript } from './engine-calls.ts';

const pollMs = 50;
/** The word by which a switch is found among the processes of this host, before the id of its container. */
const mark = 'sf-power-switch';

/**
 * A swarm that has missed a member for 10 to 16 s, and then hears of it again, lists it as Down for long; no real machine
 * boots so fast. This and the boot are longer.
 */
const leastMs = 16_000;

/**
 * Kills a container and starts it again. Its kernel is this host's, which would say goodbye on every connection of it: it
 * is cut off first, so that its peers hear nothing, as of a machine that is off. The switch belongs to no controller:
 * whatever becomes of that, it goes on, and tries until the container runs or is removed. TERM makes it hurry, when the
 * least time is over. The engine is named, for the environment may name another.
 *   $1 container's id   $2 until when it stays off, epoch seconds   $3 and for how many seconds at least
 */
const script = `
docker() { command docker -H unix://${engineSocket} "$@"; }
trap 'hurry=1' TERM
wait_for() { [ -n "\${hurry-}" ] || { sleep "$1" & wait $!; kill $! 2>/dev/null; }; }
[ $(($2 - $(date +%s))) -gt 0 ] || exit 0
timeout 3 docker -H unix://${engineSocket} exec "$1" ip link set eth0 down
timeout 3 docker -H unix://${engineSocket} exec "$1" ${thawScript}
docker kill "$1"
sleep "$3"
left=$(($2 - $(date +%s)))
[ "$left" -le 0 ] || wait_for "$left"
hurry=
until docker start "$1"; do
  if docker inspect "$1" 2>&1 | grep -q 'o such'; then exit; fi
  wait_for 2
done`;

/** Starts the switch, as a process of a session of its own; resolves when it exists. */
export const throwPowerSwitch = async (
  containerId: string,
  untilMs: number,
  least = leastMs,
): Promise<void> => {
  const words = [containerId, ...[untilMs, least].map((ms) => String(Math.ceil(ms / 1000)))];
  const child = spawn('sh', ['-c', script, mark, ...words], { detached: true, stdio: 'ignore' });
  await once(child, 'spawn');
  child.unref();
};

/** Lets the switch of a container, if there is one, put it on again as soon as it may; resolves when it has. */
export const endPowerSwitch = async (containerId: string, signal: AbortSignal): Promise<void> => {
  for (;;) {
    const pids = await switchesOf(containerId);
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
const switchesOf = async (containerId: string): Promise<readonly number[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
      const at = words.indexOf(mark);
      return at > 0 && words[at - 2] === '-c' && words[at + 1] === containerId ? [Number(pid)] : [];
    }),
  );
  return found.flat();
};
