import type { ServiceSpec } from '../swarm/swarm-types.ts';
import type { Step } from './cluster-plan.ts';
import { managerApi, poll, type StepWork } from './step-tools.ts';

/** Longer than the engine's own 10 s of grace; what is left then belongs to machines that do not answer. */
const tasksGoneMs = 20_000;

type Update = Extract<Step, { kind: 'update-service' }>;
type Removal = 'removeNetwork' | 'removeConfig' | 'removeSecret' | 'removeService';

export async function createService(spec: ServiceSpec, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  const resolved = await work.references.resolve(spec, swarm, work.signal);
  work.mayWrite();
  await swarm.createService(resolved, work.signal);
}

export async function updateService({ live, spec }: Update, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  const resolved = await work.references.resolve(spec, swarm, work.signal);
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
