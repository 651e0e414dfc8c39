import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import type { Test } from 'tap';
import type { DesiredStack } from '../../controller/stack/convert-stack.ts';
import { stackLoader } from '../../controller/stack/load-stack.ts';
import { diffNetwork } from '../../controller/swarm/diff-network.ts';
import { diffService } from '../../controller/swarm/diff-service.ts';
import type { Difference } from '../../controller/swarm/diff-trees.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import { References } from '../../controller/swarm/resolve-references.ts';
import type { SwarmGateway } from '../../controller/swarm/swarm-gateway.ts';
import { formatProblem, ManifestError } from '../../crds/problem.ts';
import { dockerOver } from '../../provisioners/shared/docker-client.ts';
import { findDockerCli } from './docker-cli.ts';
import { normalNetwork, normalSpec, type Tree, unkept } from './normal-objects.ts';
import { startOwnEngine } from './own-engine.ts';
import { type Asked, startRecordingProxy } from './recording-proxy.ts';

/** What came of a stack file. */
export interface Deployed {
  /** Why it was refused: the words of who refused it. */
  readonly refused?: string;
  readonly warned: string;
  /** In which fields we would find it not to be as wanted. */
  readonly left?: readonly Difference[];
  /** By kind and name, as the API gives it back; see `normal-objects.ts` for what is left out. */
  readonly objects: Tree;
}

/** Both ways from a stack file to a swarm, into the same empty one. */
export interface StackSides {
  /** The program that we are compared with. */
  readonly cli: string;
  byCli(files: readonly string[], variables: Variables): Promise<Deployed>;
  byUs(files: readonly string[], variables: Variables): Promise<Deployed>;
}

type Variables = Readonly<Record<string, string>>;

const stack = 'app';
const cluster = 'own';
/** What the stack files call external. */
const external = { network: 'shared', config: 'shared-config', secret: 'shared-secret' };

/** Open until the end of the test. */
export async function openStackSides(t: Test, signal: AbortSignal): Promise<StackSides> {
  const cli = await findDockerCli(signal);
  const engine = await startOwnEngine(signal);
  t.teardown(engine.stop);
  const proxy = await startRecordingProxy(engine.host.replace('unix://', ''));
  t.teardown(proxy.stop);
  const throughProxy = { ...engine.node, dial: async () => connect(proxy.socket) };
  const ours = await dockerOver(throughProxy, undefined, signal);
  t.teardown(ours.close);
  const config = await mkdtemp('/tmp/sf-cli-');
  t.teardown(() => rm(config, { recursive: true }));
  const plugin = await offerSecrets(engine.pluginSocket);
  t.teardown(() => plugin.close());
  await prepare(engine.docker);
  proxy.take();

  const outcome = async (deploy: () => Promise<Omit<Deployed, 'objects'>>): Promise<Deployed> => {
    await removeStack(engine.docker);
    proxy.take();
    const said = await deploy();
    return { ...said, objects: await objectsOf(engine.docker, proxy.take()) };
  };
  return {
    cli,
    byCli: (files, variables) =>
      outcome(async () => {
        const options = ['--resolve-image', 'never', '--detach=true'];
        const args = ['-H', `unix://${proxy.socket}`, '--config', config, 'stack', 'deploy', ...options];
        const all = [...args, ...files.flatMap((file) => ['-c', file]), stack];
        const child = spawn(cli, all, { env: { PATH: process.env.PATH, ...variables }, signal });
        const [warned, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
        return { warned, ...(code !== 0 && { refused: warned }) };
      }),
    byUs: (files, variables) =>
      outcome(async () => {
        try {
          return await deployByUs(ours.docker, files, variables, signal);
        } catch (error) {
          if (!(error instanceof ManifestError)) throw error;
          return { warned: '', refused: error.problems.map(formatProblem).join('\n') };
        }
      }),
  };
}

/** A plugin that is asked for no secret, since nothing runs: only with one there can a secret name it as its driver. */
async function offerSecrets(socket: string): Promise<Server> {
  const server = createServer((_, answer) => answer.end(JSON.stringify({ Implements: ['secretprovider'] })));
  server.listen(socket);
  await once(server, 'listening');
  return server;
}

/** Nothing is to run, and what stack files take from outside is there. */
async function prepare(docker: Dockerode): Promise<void> {
  const [node] = (await docker.listNodes()) as { ID: string; Version: { Index: number }; Spec: object }[];
  const drained = { ...node?.Spec, Availability: 'drain', version: node?.Version.Index };
  await docker.getNode(node?.ID ?? '').update(drained);
  await docker.createNetwork({ Name: external.network, Driver: 'overlay', Attachable: true });
  await docker.createConfig({ Name: external.config, Data: 'eA==' });
  await docker.createSecret({ Name: external.secret, Data: 'eA==' });
}

/** What the reconciler's steps do with a stack (`cluster/apply-step.ts`), in the order of their plan. */
async function deployByUs(
  docker: Dockerode,
  files: readonly string[],
  variables: Variables,
  signal: AbortSignal,
): Promise<Omit<Deployed, 'objects'>> {
  const [path, ...overrides] = files;
  const source = { cluster, name: stack, path: path!, overrides, variables };
  const desired = await stackLoader()(source, signal);
  const swarm = swarmGateway(docker);
  for (const spec of desired.networks) await swarm.createNetwork(spec, signal);
  for (const spec of desired.configs) await swarm.createConfig(spec, signal);
  for (const spec of desired.secrets) await swarm.createSecret(spec, signal);
  const references = new References();
  for (const spec of desired.services)
    await swarm.createService(await references.resolve(spec, swarm, signal), signal);
  return { warned: desired.warnings.join('\n'), left: await leftToDo(desired, swarm, signal) };
}

/** In which fields another pass would find what was just made not to be as wanted. */
async function leftToDo(
  { services, networks }: DesiredStack,
  swarm: SwarmGateway,
  signal: AbortSignal,
): Promise<readonly Difference[]> {
  const [live, nets] = [await swarm.listServices(signal), await swarm.listNetworks(signal)];
  const names = new Map(nets.map(({ Id, Name }) => [Id, Name]));
  const wanted = services.flatMap((want) => {
    const have = live.find(({ Spec }) => Spec.Name === want.Name);
    return have ? diffService(want, have.Spec, names) : [];
  });
  const made = networks.flatMap((want) => {
    const have = nets.find(({ Name }) => Name === want.Name);
    return have ? diffNetwork(want, have) : [];
  });
  return [...wanted, ...made];
}

const filters = JSON.stringify({ label: [`com.docker.stack.namespace=${stack}`] });

interface Listed {
  readonly ID: string;
  readonly Spec: { readonly Name: string };
}

async function listAll(docker: Dockerode) {
  const [services, configs, secrets] = (await Promise.all([
    docker.listServices({ filters }),
    docker.listConfigs({ filters }),
    docker.listSecrets({ filters }),
  ])) as unknown as Listed[][];
  return {
    services: services!,
    configs: configs!,
    secrets: secrets!,
    networks: await docker.listNetworks({ filters }),
  };
}

/** With its tasks gone, which a swarm does a moment later. */
async function removeStack(docker: Dockerode): Promise<void> {
  const { services, configs, secrets, networks } = await listAll(docker);
  await Promise.all(services.map(({ ID }) => docker.getService(ID).remove()));
  await Promise.all(configs.map(({ ID }) => docker.getConfig(ID).remove()));
  await Promise.all(secrets.map(({ ID }) => docker.getSecret(ID).remove()));
  for (const { Id } of networks) await untilDone(() => docker.getNetwork(Id).remove());
}

const withinMs = 10_000;

async function untilDone<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(20);
    }
  }
}

async function objectsOf(docker: Dockerode, asked: readonly Asked[]): Promise<Tree> {
  const { services, configs, secrets, networks } = await listAll(docker);
  const names = new Map([
    ...[...configs, ...secrets].flatMap(({ ID, Spec }) => {
      const name = withoutSuffix(Spec);
      return [[ID, name] as const, [Spec.Name, name] as const];
    }),
    ...(await externalNames(docker)),
    ...networks.map(({ Id, Name }) => [Id, Name] as const),
  ]);
  const askedFor = (kind: Asked['kind'], name: string) =>
    asked.find((one) => one.kind === kind && one.body.Name === name)?.body as Tree | undefined;
  const normal = (kind: Asked['kind'], spec: Listed['Spec']) => ({
    spec: normalSpec(spec, names),
    unkept: normalSpec(unkept(askedFor(kind, spec.Name), spec), names),
  });
  const byName = (entries: readonly (readonly [string, unknown])[]) => Object.fromEntries(entries);
  const servicesNow = await Promise.all(
    services.map(async ({ ID, Spec }) => {
      const full = (await docker.getService(ID).inspect({ insertDefaults: true })) as Listed;
      return [
        Spec.Name,
        { ...normal('services', Spec), withDefaults: normalSpec(full.Spec, names) },
      ] as const;
    }),
  );
  const networksNow = await Promise.all(
    networks.map(async ({ Id, Name }) => {
      const state = await untilDone(() => allocated(docker, Id));
      return [Name, normalNetwork(state, askedFor('networks', Name), names)] as const;
    }),
  );
  return {
    services: byName(servicesNow),
    networks: byName(networksNow),
    configs: byName(configs.map(({ Spec }) => [withoutSuffix(Spec), normal('configs', Spec)])),
    secrets: byName(secrets.map(({ Spec }) => [withoutSuffix(Spec), normal('secrets', Spec)])),
  };
}

/** Of names that we gave ourselves. */
function withoutSuffix({ Name, Labels }: Listed['Spec'] & { readonly Labels?: Tree }): string {
  const isOurs = Labels?.['spark-failures.io/stack'] !== undefined;
  return isOurs ? Name.replace(/-[0-9a-f]{8}$/, '') : Name;
}

async function externalNames(docker: Dockerode) {
  const all = await Promise.all([docker.listConfigs(), docker.listSecrets()]);
  const others = (all as unknown as Listed[][]).flat();
  const networks = await docker.listNetworks();
  return [
    ...others.flatMap(({ ID, Spec }) =>
      Object.values(external).includes(Spec.Name) ? [[ID, Spec.Name] as const] : [],
    ),
    ...networks.map(({ Id, Name }) => [Id, Name] as const),
  ];
}

/** A network of the swarm gets its addresses a moment after it is made. */
async function allocated(docker: Dockerode, id: string): Promise<Tree> {
  const state = await docker.getNetwork(id).inspect();
  if ((state.IPAM?.Config ?? []).length === 0) throw new Error(`network ${id} has no addresses yet`);
  return { ...state };
}
