import { join } from 'node:path';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { LabHosts } from '../support/lab-hosts.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';
import { sixServers } from './ssh-adopt.ts';
import type { ExecAnswer } from './ssh-exec-child.ts';

const times = 300;

/**
 * A command that does nothing, as root over a connection that is held, on six machines in turn, and what six held connections
 * weigh; beside it the same command over the held connection of OpenSSH, each a process, and the weight of its six masters.
 */
export const measureSshExec: Measure<'ssh-exec-median' | 'ssh-held-memory'> = async (site, signal) => {
  const { progress } = site;
  const machines = await LabHosts.open(
    { name: 'bench-ssh', subnet: '10.94.4.0/24', specs: sixServers, progress },
    signal,
  );
  try {
    const { login, hosts, work } = machines;
    const given = JSON.stringify([login, hosts, times]);
    const script = join(import.meta.dirname, 'ssh-exec-child.js');
    const ours = JSON.parse(
      await runCommand(process.execPath, ['--expose-gc', script, given], {}, signal),
    ) as ExecAnswer;
    const addresses = Object.values(hosts).map(({ host }) => host);
    const plain = await byOpenSsh(login, addresses, join(work, 'control-%h'), signal);
    progress(`ssh-exec: ${median(ours.ms).toFixed(1)} ms, by OpenSSH ${median(plain.ms).toFixed(1)} ms`);
    return {
      'ssh-exec-median': {
        ...{ value: median(ours.ms), unit: 'ms', n: times, baseline: median(plain.ms) },
        target: { of: 'value', sign: '<', limit: 10 },
      },
      'ssh-held-memory': {
        ...{ value: ours.heldMb, unit: 'MB', n: addresses.length, baseline: plain.heldMb },
        target: { of: 'value', sign: '<', limit: 20 },
      },
    };
  } finally {
    await machines.close();
  }
};

async function byOpenSsh(
  { user, keyFile }: LabHosts['login'],
  addresses: readonly string[],
  controlPath: string,
  signal: AbortSignal,
): Promise<ExecAnswer> {
  const unchecked = ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'];
  const ssh = (address: string, ...more: readonly string[]) =>
    runCommand(
      'ssh',
      ['-q', '-i', keyFile, ...unchecked, '-S', controlPath, `${user}@${address}`, ...more],
      {},
      signal,
    );
  for (const address of addresses) await ssh(address, '-M', '-N', '-f');
  try {
    const ms: number[] = [];
    for (let count = 0; count < times; count++) {
      const startMs = performance.now();
      await ssh(addresses[count % addresses.length]!, 'sudo', '-n', 'sh', '-c', 'true');
      ms.push(performance.now() - startMs);
    }
    const resident = 'ps -o rss= -p "$(pgrep -d, -f "$1")"';
    const kb = await runCommand('sh', ['-c', resident, 'sh', controlPath.replace('%h', '')], {}, signal);
    return { ms, heldMb: kb.split('\n').reduce((sum, line) => sum + Number(line), 0) / 1000 };
  } finally {
    for (const address of addresses) await ssh(address, '-O', 'exit');
  }
}
