import type { NodeHandle } from '../contract.ts';
import { ExecError } from '../contract.ts';

/** What a machine offers, as it says itself. Fields are empty where it does not know. */
export interface MachineFacts {
  readonly kernel: string;
  readonly operatingSystem: string;
  /** 1 or 2: which files limit memory and CPU. */
  readonly cgroupVersion: 1 | 2;
  readonly engineVersion: string;
  /** IPv4 addresses of its interfaces, loopback excluded. */
  readonly addresses: readonly string[];
}

/** One line per fact: a name, a blank, the value. A name may come more than once. */
const script = `
echo "kernel $(uname -r)"
[ -r /etc/os-release ] && . /etc/os-release && echo "system $PRETTY_NAME"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo cgroup 2; else echo cgroup 1; fi
if engine=$(docker version --format '{{.Server.Version}}' 2>/dev/null); then echo "engine $engine"; fi
ip -4 -o addr show scope global | while read -r _ _ _ address _; do echo "address \${address%/*}"; done`;

/** Asks a machine, in one round trip, what it offers. */
export const readMachineFacts = async (node: NodeHandle, signal: AbortSignal): Promise<MachineFacts> => {
  const { code, stdout, stderr } = await node.exec(script, [], {}, signal);
  if (code !== 0) throw new ExecError(node.name, `the facts script ended with ${code}: ${stderr.trim()}`);
  return parseMachineFacts(stdout);
};

/** Reads the script's answer. */
export const parseMachineFacts = (answer: string): MachineFacts => {
  const lines = answer.split('\n').map((line) => /^(\S+) (.*)$/.exec(line));
  const all = (name: string) => lines.flatMap((line) => (line?.[1] === name ? [line[2] ?? ''] : []));
  return {
    kernel: all('kernel')[0] ?? '',
    operatingSystem: all('system')[0] ?? '',
    cgroupVersion: all('cgroup')[0] === '2' ? 2 : 1,
    engineVersion: all('engine')[0] ?? '',
    addresses: all('address'),
  };
};
