import type { FaultLab } from './fault-lab.ts';

/** What a connection meets: `prohibited` by a firewall that says so, `silent` for two seconds, or an answer. */
export type Answer = 'open' | 'refused' | 'prohibited' | 'silent';

/** Who asks: a machine, or a container on it, whose traffic the machine forwards. */
export type Asker = { readonly node: string; readonly container?: string };

/** Takes the number of bytes that a client announces in a line, and says ok; a connection without one stays open. */
const server = `use IO::Socket::INET; $SIG{CHLD} = "IGNORE";
$s = IO::Socket::INET->new(LocalPort => shift, Listen => 50, ReuseAddr => 1) or die;
while ($c = $s->accept) { next if fork; $n = <$c>;
  while ($n > 0) { read($c, $b, $n < 65536 ? $n : 65536) or exit; $n -= length $b } print $c "ok\\n"; exit }`;

/** What bash says of a connection; `open` when it says nothing. */
export function toAnswer(said: string): Answer {
  if (said === 'open') return 'open';
  if (/refused/.test(said)) return 'refused';
  return /No route/.test(said) ? 'prohibited' : 'silent';
}

/** Connections between machines as their programs feel them; knows nothing of faults. */
export function networkProbes(lab: FaultLab) {
  const inside = ({ container }: Asker) =>
    container ? `nsenter -t "$(docker inspect -f '{{.State.Pid}}' ${container})" -n ` : '';
  /** Of a machine by its name; an address is one already. */
  const address = (to: string) => (to.includes('.') ? to : lab.node(to).address);

  /** Listens on a port of a machine, until the machine ends. */
  const listen = (node: string, port: number) =>
    lab.on(node, 'systemd-run --quiet --unit="probe-$2" perl -e "$1" "$2"', server, String(port));

  /** The command of a container that listens on port 80. */
  const listening = `perl -e '${server}' 80`;

  const connect = async (asker: Asker, to: string, port: number): Promise<Answer> => {
    const dial = 'exec 3<>"/dev/tcp/$1/$2"';
    const script = `LC_ALL=C ${inside(asker)}timeout 2 bash -c '${dial}' bash "$1" "$2" 2>&1 && echo open || true`;
    return toAnswer(await lab.on(asker.node, script, address(to), String(port)));
  };

  /** Sends so many bytes and waits until they have arrived; gives bits per second. */
  const bandwidth = async (asker: Asker, to: string, port: number, bytes: number): Promise<number> => {
    const send =
      'exec 3<>"/dev/tcp/$1/$2"; { echo "$3"; head -c "$3" /dev/zero; } >&3; read -r said <&3; test "$said" = ok';
    const script = `a=$(date +%s%N); ${inside(asker)}bash -c '${send}' bash "$@"; echo $(($(date +%s%N) - a))`;
    const tookNs = Number(await lab.on(asker.node, script, address(to), String(port), String(bytes)));
    return (bytes * 8) / (tookNs / 1e9);
  };

  /** Whether something of the sort that a counter of the kernel counts arrives at `to` when `send` is run. */
  const arrives = async (counter: string, to: Asker, send: () => Promise<unknown>): Promise<boolean> => {
    const count = async () =>
      Number(await lab.on(to.node, `${inside(to)}nstat -asz ${counter} | awk '/${counter}/ { print $2 }'`));
    const before = await count();
    await send();
    return (await count()) > before;
  };

  const ping = (asker: Asker, to: string) =>
    lab.on(asker.node, `${inside(asker)}ping -q -c 1 -W 1 "$1" >&2 && echo yes || echo no`, address(to));

  const datagram = (asker: Asker, to: string, port: number) =>
    lab.on(
      asker.node,
      `${inside(asker)}bash -c 'echo >"/dev/udp/$1/$2"' bash "$1" "$2" 2>/dev/null || true; sleep 0.1`,
      ...[address(to), String(port)],
    );

  return { listen, listening, connect, bandwidth, arrives, ping, datagram };
}
