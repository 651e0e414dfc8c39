import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { localDocker } from '../../provisioners/shared/docker-client.ts';
import { packageRoot } from './examples.ts';
import { LabInstances } from './lab-instances.ts';
import { type Moto, startMoto } from './moto.ts';
import { StrictAws } from './strict-aws.ts';

/** What speaks as AWS, with machines of the lab behind its instances. */
export interface Ec2Lab {
  /** A folder of the test, which is removed in the end. */
  readonly work: string;
  readonly strict: StrictAws;
  /** Where that answers, from the machines, too. */
  readonly endpoint: string;
  readonly moto: Moto;
  readonly machines: LabInstances;
}

interface Ec2LabLayout {
  readonly cluster: string;
  /** That of all subnets. */
  readonly subnet: string;
  /** For the machines to hold. */
  readonly images: readonly string[];
  /** Of each machine. */
  readonly memory?: string;
}

/** Makes it, and the SDK of this process and its children speak to it; all of it is gone after the teardown. */
export async function openEc2Lab(
  t: Pick<Test, 'teardown'>,
  { cluster, subnet, images, memory }: Ec2LabLayout,
  signal: AbortSignal,
): Promise<Ec2Lab> {
  const work = await mkdtemp(join(tmpdir(), `sf-${cluster}-`));
  const nodeImage = (await resolveImageNames(packageRoot)).get('node') ?? '';
  const options = { assetsDir: packageRoot, cacheDir: join(packageRoot, '.cache'), progress: () => {} };
  await ensureImages([nodeImage, ...images], options, signal);
  const moto = await startMoto(signal);
  if ('missing' in moto) throw new Error(moto.missing);
  const machines = new LabInstances({
    ...{ docker: localDocker(), nodeImage, name: cluster, subnet, folder: join(work, 'machines') },
    ...(memory !== undefined && { memory }),
  });
  await machines.prepare(signal);
  const strict = new StrictAws(moto, machines);
  const endpoint = await strict.listen(machines.gateway);
  Object.assign(process.env, {
    ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_ENDPOINT_URL: endpoint },
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  });
  t.teardown(async () => {
    await machines.removeAll();
    await strict.close();
    await moto.stop();
    await rm(work, { recursive: true, force: true });
  });
  return { work, strict, endpoint, moto, machines };
}
