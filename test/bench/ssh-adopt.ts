import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { API_VERSION } from '../../crds/group.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { runController } from '../support/controller-process.ts';
import { packageRoot } from '../support/examples.ts';
import { LabHosts, withoutEngine } from '../support/lab-hosts.ts';
import type { Measure } from './bench-site.ts';
import { median } from './figure.ts';

/** A manager and five workers. */
export const sixServers = Array.from({ length: 6 }, (_, index) => ({
  ...{ name: `node${index + 1}`, index },
  role: index === 0 ? ('manager' as const) : ('worker' as const),
}));

/** What both sides install is on the machines' disks already: how fast a mirror is that day is no figure of ours. */
const withPackagesAtHand = `${withoutEngine}
apt-get -q -y install --download-only --no-install-recommends docker.io docker-cli iproute2 iptables procps >/dev/null`;

/**
 * Six machines without an engine, over ssh to a swarm of them that is Ready: by `controller apply`, and by a shell script that
 * does the same at once on all, and looks at nothing. In turn, on the same machines, which are made bare again between.
 */
export const measureSshAdopt: Measure<'ssh-adopt'> = async (site, signal) => {
  const n = site.runs ?? 3;
  const { progress } = site;
  const machines = await LabHosts.open(
    { name: 'bench-ssh', subnet: '10.94.4.0/24', specs: sixServers, progress },
    signal,
  );
  try {
    const ours: number[] = [];
    const shell: number[] = [];
    for (let run = 1; run <= n; run++) {
      for (const [times, side] of [
        [ours, byController],
        [shell, byShell],
      ] as const) {
        await Promise.all(sixServers.map(({ name }) => machines.output(name, withPackagesAtHand)));
        times.push(await side(machines, run, signal));
      }
      progress(`ssh-adopt: ${ours.at(-1)?.toFixed(1)} s, by shell ${shell.at(-1)?.toFixed(1)} s`);
    }
    const target = { of: 'ratio', sign: '<=', limit: 1.3 } as const;
    return { 'ssh-adopt': { value: median(ours), unit: 's', n, baseline: median(shell), target } };
  } finally {
    await machines.close();
  }
};

async function byController(machines: LabHosts, run: number): Promise<number> {
  const { work, login, hosts } = machines;
  const [manifest, log, state] = ['cluster.yaml', 'log', `state-${run}`].map((name) => join(work, name));
  await writeFile(
    manifest!,
    stringify({
      apiVersion: API_VERSION,
      kind: 'ClusterSpec',
      metadata: { name: 'bench-ssh' },
      spec: {
        provisioner: { ssh: { ...login, hosts } },
        nodes: sixServers.map(({ name, role }) => ({ name, role })),
        deletionPolicy: 'destroy',
      },
    }),
  );
  const verb = async (name: string) => {
    const startMs = performance.now();
    const done = await runController([name, '-f', manifest!, '--state', state!, '--wait'], log!);
    if (done.code !== 0) throw new Error(`${name}: ${done.stderr}\n${await readFile(log!, 'utf8')}`);
    return (performance.now() - startMs) / 1000;
  };
  const seconds = await verb('apply');
  const ready = await machines.output('node1', "docker node ls --format '{{.Status}}'");
  if (ready !== sixServers.map(() => 'Ready').join('\n')) throw new Error(`the swarm's nodes are ${ready}`);
  await verb('delete');
  return seconds;
}

async function byShell(machines: LabHosts, _run: number, signal: AbortSignal): Promise<number> {
  const { login, hosts } = machines;
  const script = join(packageRoot, 'test', 'bench', 'adopt.sh');
  const addresses = sixServers.map(({ name }) => hosts[name]!.host);
  const startMs = performance.now();
  await runCommand('bash', [script, login.user, login.keyFile, ...addresses], {}, signal);
  const seconds = (performance.now() - startMs) / 1000;
  await Promise.all(sixServers.map(({ name }) => machines.output(name, 'docker swarm leave --force')));
  return seconds;
}
