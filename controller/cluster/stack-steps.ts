import { type ReferenceIds, resolveReferences } from '../swarm/resolve-references.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { ServiceSpec } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { managerApi, poll, type StepWork } from './step-tools.ts';

/** Longer than the engine's own 10 s of grace; what is left then belongs to machines that do not answer. */
const tasksGoneMs = 20_000;

type Update = Extract<Step, { kind: 'update-service' }>;
type Removal = 'removeNetwork' | 'removeConfig' | 'removeSecret' | 'removeService';

export async function createService(spec: ServiceSpec, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  const resolved = resolveReferences(spec, await referenceIds(spec, swarm, work));
  work.mayWrite();
  await swarm.createService(resolved, work.signal);
}

export async function updateService({ live, spec }: Update, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  const resolved = resolveReferences(spec, await referenceIds(spec, swarm, work));
  work.mayWrite();
  await swarm.updateService(live, resolved, work.signal);
}

/** Removes one object by its id. */
export async function removeObject(remove: Removal, id: string, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  work.mayWrite();
  await swarm[remove](id, work.signal);
}

/** Resolves when no task of the removed services is left, or when waiting longer would not help. */
export async function awaitTasksGone(services: readonly string[], work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  const gone = async () => {
    const tasks = await swarm.listTasks({}, work.signal);
    const left = tasks.some(
      ({ ServiceID, Status }) => services.includes(ServiceID) && holdsNetworks.has(Status.State),
    );
    return left ? undefined : true;
  };
  await poll(gone, tasksGoneMs, work);
}

const holdsNetworks = new Set(['assigned', 'accepted', 'preparing', 'ready', 'starting', 'running']);

/** Only what the spec refers to is looked up: most services have neither configs nor secrets. */
async function referenceIds(
  spec: ServiceSpec,
  swarm: SwarmGateway,
  { signal }: StepWork,
): Promise<ReferenceIds> {
  const { ContainerSpec, Networks = [] } = spec.TaskTemplate;
  const [networks, configs, secrets] = await Promise.all([
    Networks.length > 0 ? swarm.listNetworks(signal) : [],
    ContainerSpec.Configs?.length ? swarm.listConfigs(signal) : [],
    ContainerSpec.Secrets?.length ? swarm.listSecrets(signal) : [],
  ]);
  return {
    networks: new Map(networks.map(({ Name, Id }) => [Name, Id])),
    configs: new Map(configs.map((config) => [config.Spec.Name, config.ID])),
    secrets: new Map(secrets.map((secret) => [secret.Spec.Name, secret.ID])),
  };
}
