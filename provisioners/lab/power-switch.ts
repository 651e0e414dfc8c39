import { endSwitch, throwSwitch } from '../shared/detached-switch.ts';
import { engineSocket } from '../shared/docker-client.ts';
import { thawScript } from './engine-calls.ts';

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

/** Starts the switch; resolves when it exists. */
export const throwPowerSwitch = (containerId: string, untilMs: number, least = leastMs): Promise<void> => {
  const seconds = [untilMs, least].map((ms) => String(Math.ceil(ms / 1000)));
  return throwSwitch('sh', ['-c', script, mark, containerId, ...seconds]);
};

/** Lets the switch of a container, if there is one, put it on again as soon as it may; resolves when it has. */
export const endPowerSwitch = (containerId: string, signal: AbortSignal): Promise<void> =>
  endSwitch(mark, containerId, signal);
