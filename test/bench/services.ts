import { ownMachine } from '../support/own-machine.ts';
import type { BenchSite, Measure } from './bench-site.ts';
import { median } from './figure.ts';
import { timePasses } from './idle-pass.ts';
import { type OwnCluster, withOwnCluster } from './own-cluster.ts';
import { saveStack, sleepers } from './tiny-stack.ts';

type Name<Count extends number> = `services-${Count}${'' | '-unchanged' | '-writes'}`;

/** Of each kind. */
interface Times {
  readonly ours: number[];
  readonly shell: number[];
}

/**
 * So many services that do not wait for each other, in a swarm that holds nothing else and has their image, until all of their
 * tasks run: by an operator that watches a manifest, from the save of it, and by `docker stack deploy`, from the start of
 * it; in turn, and who begins in turn, too. Once all is as it should be, the same again, of which nothing comes: a pass
 * of the operator, and the command.
 */
export function measureServices<Count extends number>(count: Count): Measure<Name<Count>> {
  return (site, signal) =>
    withOwnCluster(
      site,
      async (cluster) => {
        const compose = saveStack(site, `services-${count}`, sleepers(count));
        const n = site.runs ?? 5;
        const deployed: Times = { ours: [], shell: [] };
        const unchanged: Times = { ours: [], shell: [] };
        let writes = 0;
        const ours = async (isLast: boolean) => {
          deployed.ours.push(
            await msOf(
              () => cluster.save(compose),
              () => cluster.untilRunning(count),
            ),
          );
          cluster.signalOperator('SIGSTOP');
          if (isLast) writes = await passUnchanged(cluster, n, unchanged, signal);
          cluster.signalOperator('SIGCONT');
          cluster.save();
          await cluster.untilGone();
        };
        const shell = async (isLast: boolean) => {
          // It takes nothing from its rival.
          cluster.signalOperator('SIGSTOP');
          const deploy = () => cluster.deploy(compose);
          deployed.shell.push(await msOf(deploy, () => cluster.untilRunning(count)));
          for (let again = 0; isLast && again < n; again++) unchanged.shell.push(await msOf(deploy));
          // It has found its feet again by the time that all is gone.
          cluster.signalOperator('SIGCONT');
          await cluster.remove();
          await cluster.untilGone();
        };
        cluster.watch();
        await warmUp(cluster, count, site);
        for (let run = 1; run <= n; run++) {
          for (const arm of run % 2 === 1 ? [ours, shell] : [shell, ours]) await arm(run === n);
          const last = `${deployed.ours.at(-1)} ms, by docker stack deploy ${deployed.shell.at(-1)} ms`;
          site.progress(`services-${count}: run ${run} of ${n}: ${last}`);
        }
        return readings(count, n, { deployed, unchanged, writes });
      },
      signal,
    );
}

/** What connections, and code that runs for the first time, cost is no part of it: an operator has been there for hours. */
async function warmUp(cluster: OwnCluster, count: number, site: BenchSite): Promise<void> {
  cluster.save(saveStack(site, 'warm-up', sleepers(count, { replicas: 0 })));
  await cluster.untilListed(count);
  cluster.save();
  await cluster.untilGone();
}

async function passUnchanged(
  { site: { socket, folder: _, ...site }, manifest, log }: OwnCluster,
  n: number,
  unchanged: Times,
  signal: AbortSignal,
): Promise<number> {
  const bound = { ...site, bindProvisioner: () => ownMachine(socket) };
  const { passes, writes } = await timePasses({ bound, manifest, log, n }, signal);
  unchanged.ours.push(...passes);
  return writes;
}

async function msOf(begin: () => Promise<void> | void, end?: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await begin();
  await end?.();
  return Math.round(performance.now() - startMs);
}

function readings<Count extends number>(
  count: Count,
  n: number,
  {
    deployed,
    unchanged,
    writes,
  }: { readonly deployed: Times; readonly unchanged: Times; readonly writes: number },
) {
  const name = `services-${count}` as const;
  const target = (limit: number) => ({ of: 'ratio', sign: '<=', limit }) as const;
  return {
    [name]: {
      ...{ value: median(deployed.ours) / 1000, baseline: median(deployed.shell) / 1000, unit: 's', n },
      target: target(1),
    },
    [`${name}-unchanged`]: {
      ...{ value: median(unchanged.ours), baseline: median(unchanged.shell), unit: 'ms', n },
      target: target(0.5),
    },
    [`${name}-writes`]: {
      ...{ value: writes, baseline: 0, unit: 'requests', n },
      target: { of: 'value', sign: '<=', limit: 0 },
    },
  } as Awaited<ReturnType<Measure<Name<Count>>>>;
}
