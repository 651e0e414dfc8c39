import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DescribeInstancesCommand, EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { systemClock } from '../../provisioners/ec2/clock.ts';
import { ec2ConfigSchema } from '../../provisioners/ec2/config.ts';
import { ec2Provisioner } from '../../provisioners/ec2/provisioner.ts';
import { startMoto } from '../support/moto.ts';
import { StrictAws } from '../support/strict-aws.ts';
import type { Measure } from './bench-site.ts';

type Name = 'ec2-create-time' | 'ec2-create-calls';

const machines = 100;
const region = 'eu-central-1';
/** Looks until a machine runs: with one every two seconds, up to eight. */
const trouble = { seed: 1, slowLooks: 4, hiddenLooks: 1 };

/**
 * A hundred machines, from nothing at all to running, against an endpoint that is as slow as AWS and no faster than moto. No
 * machine is behind them. Beside it the same hundred orders by the bare SDK, all at once, and one look after another.
 */
export const measureEc2Create: Measure<Name> = async ({ workDir, progress }, signal) => {
  const moto = await startMoto(signal);
  if ('missing' in moto) throw new Error(moto.missing);
  const strict = new StrictAws(moto);
  const endpoint = await strict.listen();
  Object.assign(process.env, {
    ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_ENDPOINT_URL: endpoint },
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  });
  try {
    progress(`ec2-create: ${machines} machines`);
    await strict.reset(trouble);
    const provisioner = ec2Provisioner(
      ec2ConfigSchema.parse({ region, sshFrom: ['203.0.113.4/32'] }),
      {
        ...{ cluster: 'hundred', stateDir: join(workDir, 'ec2'), cacheDir: workDir },
        ...{ images: { node: '', seed: [] }, progress: () => {} },
      },
      { clock: systemClock, enter: () => Promise.resolve() },
    );
    const ours = await timed(() =>
      Promise.all(
        Array.from({ length: machines }, (_, index) =>
          provisioner.create(
            { name: `node${index + 1}`, role: index === 0 ? 'manager' : 'worker', index },
            signal,
          ),
        ),
      ),
    );
    const calls = strict.calls.length;
    await strict.reset(trouble);
    const bare = await timed(() => orderAll(new EC2Client({ region }), signal));
    return {
      'ec2-create-time': {
        ...{ value: ours / 1_000, unit: 's', n: 1, baseline: bare / 1_000 },
        target: { of: 'value', sign: '<', limit: 60 },
      },
      'ec2-create-calls': {
        ...{ value: calls / machines, unit: 'calls', n: 1, baseline: strict.calls.length / machines },
        target: { of: 'value', sign: '<=', limit: 5 },
      },
    };
  } finally {
    await strict.close();
    await moto.stop();
  }
};

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

async function orderAll(ec2: EC2Client, abortSignal: AbortSignal): Promise<void> {
  await Promise.all(
    Array.from({ length: machines }, () =>
      ec2.send(new RunInstancesCommand({ ImageId: 'ami-1', MinCount: 1, MaxCount: 1 }), { abortSignal }),
    ),
  );
  for (;;) {
    const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({}), { abortSignal });
    const running = Reservations.flatMap(({ Instances = [] }) => Instances).filter(
      ({ State }) => State?.Name === 'running',
    );
    if (running.length === machines) return;
    await sleep(2_000, undefined, { signal: abortSignal });
  }
}
