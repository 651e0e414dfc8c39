import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { checkpointVariables } from '../../controller/stack/checkpoint.ts';
import { type BenchLab, type StackEntry, sixNodes, withLab } from './bench-lab.ts';
import { type BenchSite, docker, type Measure, until } from './bench-site.ts';
import { median } from './figure.ts';

const stackName = 'streaming';
const env = { RATE: '500', PROFILE: 'fast' };
const checkpointDir = '/var/lib/spark-failures/checkpoint';
/** Where the compose file and all that it names lie on the manager. */
const folderOnNode = '/root/streaming';

/**
 * The streaming stack on a swarm that is Ready and has its images, until all tasks run: by an operator that watches a
 * manifest, from the save of it, and by `docker stack deploy` on the manager, from the start of it. In turn, each time
 * from nothing: no service, container, network, volume or checkpoint of the last run.
 */
export const measureStackConverged: Measure<'stack-converged'> = (site, signal) => {
  const layout = { name: 'bench-stack', subnet: '10.94.1.0/24', nodes: sixNodes };
  return withLab(
    site,
    layout,
    async (lab) => {
      const compose = join(site.packageRoot, 'compose', 'streaming');
      const stack: StackEntry = { name: stackName, compose: join(compose, 'stack.yaml'), env };
      site.progress('stack-converged: six nodes with the stack, so that images are in place');
      lab.save([stack]);
      await lab.apply();
      await docker(['cp', compose, `${lab.container(1)}:${folderOnNode}`], signal);
      // The command refuses versions newer than itself; without one it takes the file for one of its own time.
      await lab.onNode(1, 'sed', '-i', '/^version:/d', `${folderOnNode}/stack.yaml`);
      const operator = await lab.watch();
      const services = countServices(stack.compose);
      const clear = async () => {
        lab.save([]);
        await untilGone(lab, signal);
        await lab.untilPasses(3, operator);
      };
      await clear();
      const ours: number[] = [];
      const shell: number[] = [];
      const n = site.runs ?? 5;
      for (let run = 1; run <= n; run++) {
        site.progress(`stack-converged: run ${run} of ${n}`);
        const savedMs = Date.now();
        lab.save([stack]);
        ours.push((await converged(lab, services, signal)) - savedMs);
        await clear();

        // Stopped, so that it takes nothing from its rival.
        operator.kill('SIGSTOP');
        const startedMs = await deploy(lab, site);
        shell.push((await converged(lab, services, signal)) - startedMs);
        await lab.onNode(1, 'docker', 'stack', 'rm', stackName);
        await untilGone(lab, signal);
        operator.kill('SIGCONT');
        await lab.untilPasses(3, operator);
        site.progress(`stack-converged: ${ours.at(-1)} ms, by docker stack deploy ${shell.at(-1)} ms`);
      }
      const target = { of: 'ratio', sign: '<=', limit: 1.1 } as const;
      const baseline = median(shell) / 1000;
      return { 'stack-converged': { value: median(ours) / 1000, unit: 's', n, baseline, target } };
    },
    signal,
  );
};

function countServices(composeFile: string): number {
  const { services } = parse(readFileSync(composeFile, 'utf8'), { merge: true }) as { services: object };
  return Object.keys(services).length;
}

/** Epoch ms at which `docker stack deploy` began, by the clock that the nodes share with us. */
async function deploy(lab: BenchLab, { images }: BenchSite): Promise<number> {
  const variables = [...images].map(([name, tag]) => {
    return [`${name.toUpperCase().replaceAll('-', '_')}_IMAGE`, tag] as const;
  });
  const all = {
    ...Object.fromEntries(variables),
    ...env,
    ...checkpointVariables({ checkpoint: { path: {} } }),
  };
  const settings = Object.entries(all).map(([name, value]) => `${name}=${value}`);
  // What the registry would answer is known to nobody here: without this the command asks it for each service.
  const command = ['docker', 'stack', 'deploy', '--resolve-image', 'never', '-c', 'stack.yaml', stackName];
  const script = `cd ${folderOnNode} && date +%s%3N && exec "$@"`;
  const said = await lab.onNode(1, 'env', ...settings, 'sh', '-c', script, 'sh', ...command);
  return Number(said.split('\n')[0]);
}

/** Epoch ms at which all tasks were seen to run, by the same poll for both. */
function converged(lab: BenchLab, services: number, signal: AbortSignal): Promise<number> {
  const look = async () => {
    const replicas = (await lab.onNode(1, 'docker', 'service', 'ls', '--format', '{{.Replicas}}')).split(
      '\n',
    );
    return replicas.length === services && replicas.every((one) => one === '1/1') ? Date.now() : undefined;
  };
  return until({ what: 'all tasks running', everyMs: 100, deadlineMs: 300_000 }, look, signal);
}

const leftOnNode = `
docker ps -aq
docker network ls --format '{{.Driver}} {{.Name}}' | grep '^overlay ' | grep -v ' ingress$'
docker info --format '{{.Swarm.ControlAvailable}}' | grep -q true && docker service ls -q && docker config ls -q
true`;
const volumesOnNode = 'docker volume ls -q | xargs -r docker volume rm >/dev/null';

async function untilGone(lab: BenchLab, signal: AbortSignal): Promise<void> {
  const nodes = sixNodes.map((_, index) => index + 1);
  const onAll = (script: string) => Promise.all(nodes.map((node) => lab.onNode(node, 'sh', '-c', script)));
  const look = async () => (await onAll(leftOnNode)).every((left) => left === '') || undefined;
  await until({ what: 'the stack gone', everyMs: 500, deadlineMs: 180_000 }, look, signal);
  await onAll(volumesOnNode);
  await lab.onNode(1, 'find', checkpointDir, '-mindepth', '1', '-delete');
}
