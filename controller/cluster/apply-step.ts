import { ConflictError, EngineError } from '../swarm/engine-error.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import { HeldError, type StepOutcome } from './apply-plan.ts';
import type { Step } from './cluster-plan.ts';
import {
  createMachine,
  deliverImages,
  destroyMachine,
  initSwarm,
  joinSwarm,
  tryToLeaveSwarm,
} from './machine-steps.ts';
import { managerApi, poll, type StepTools, type StepWork } from './step-tools.ts';
import { labelNode, removeNode, setRole, tryCheckpoint } from './swarm-node-steps.ts';

/**
 * Does one step. `holderOf` is asked right before each write: a target that a trial has claimed since the plan was
 * made is left alone. What others did meanwhile counts as done; what they changed is pending, to be planned anew.
 */
export async function applyStep(
  step: Step,
  tools: StepTools,
  holderOf: (step: Step) => string | undefined,
  signal: AbortSignal,
): Promise<StepOutcome> {
  const mayWrite = () => {
    const owner = holderOf(step);
    if (owner !== undefined) throw new HeldError(step.target, owner);
    signal.throwIfAborted();
  };
  try {
    return (await perform(step, { ...tools, mayWrite, signal })) ?? { state: 'done' };
  } catch (error) {
    if (isRemoval(step) && error instanceof EngineError && error.code === 'NOT_FOUND')
      return { state: 'done' };
    const pending = pendingMessage(step, error);
    if (pending === undefined) throw error;
    return { state: 'pending', message: pending };
  }
}

/** The one list of what a step can do. */
async function perform(step: Step, work: StepWork): Promise<StepOutcome | undefined> {
  switch (step.kind) {
    case 'ensure-shared':
      work.mayWrite();
      return nothing(work.provisioner.shared?.ensure(work.signal) ?? Promise.resolve());
    case 'create-machine':
      return nothing(createMachine(step.spec, work));
    case 'verify-engine':
      return nothing(work.pool.reach(step.target, work.signal));
    case 'init-swarm':
      return nothing(initSwarm(step.target, work));
    case 'join-swarm':
      return joinSwarm(step.target, step, work);
    case 'label-node':
      return nothing(labelNode(step.target, step.labels, work));
    case 'set-role':
      return setRole(step.target, step.role, work);
    case 'leave-swarm':
      return nothing(tryToLeaveSwarm(step.target, work));
    case 'remove-twin':
    case 'remove-node':
      return removeNode(step.nodeId, work);
    case 'destroy-machine':
      return nothing(destroyMachine(step.target, work));
    case 'destroy-shared':
      work.mayWrite();
      return nothing(work.provisioner.destroyShared(work.signal));
    case 'deliver-images':
      return nothing(deliverImages(step.target, step.images, work));
    case 'try-checkpoint':
      return nothing(tryCheckpoint(step, work));
    case 'create-network':
      return nothing(write(work, (swarm) => swarm.createNetwork(step.spec, work.signal)));
    case 'create-config':
      return nothing(write(work, (swarm) => swarm.createConfig(step.spec, work.signal)));
    case 'create-secret':
      return nothing(write(work, (swarm) => swarm.createSecret(step.spec, work.signal)));
    case 'create-service':
    case 'update-service':
      return nothing(putService(step, work));
    case 'remove-network':
      return nothing(write(work, (swarm) => swarm.removeNetwork(step.objectId, work.signal)));
    case 'remove-config':
      return nothing(write(work, (swarm) => swarm.removeConfig(step.objectId, work.signal)));
    case 'remove-secret':
      return nothing(write(work, (swarm) => swarm.removeSecret(step.objectId, work.signal)));
    case 'remove-service':
      return nothing(write(work, (swarm) => swarm.removeService(step.objectId, work.signal)));
    case 'await-tasks-gone':
      return nothing(awaitTasksGone(step.services, work));
    default:
      return step satisfies never;
  }
}

async function write(work: StepWork, call: (swarm: SwarmGateway) => Promise<unknown>): Promise<void> {
  const swarm = await managerApi(work);
  work.mayWrite();
  await call(swarm);
}

type ServiceStep = Extract<Step, { kind: 'create-service' | 'update-service' }>;

async function putService(step: ServiceStep, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  const spec = await work.references.resolve(step.spec, swarm, work.signal);
  work.mayWrite();
  if (step.kind === 'create-service') await swarm.createService(spec, work.signal);
  else await swarm.updateService(step.live, spec, work.signal);
}

/** Longer than the engine's own 10 s of grace; what is left then belongs to machines that do not answer. */
const tasksGoneMs = 20_000;
const holdsNetworks = new Set(['assigned', 'accepted', 'preparing', 'ready', 'starting', 'running']);

/** Resolves when no task of the removed services is left, or when waiting longer would not help. */
async function awaitTasksGone(services: readonly string[], work: StepWork): Promise<void> {
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

async function nothing(work: Promise<unknown>): Promise<undefined> {
  await work;
  return undefined;
}

function isRemoval({ kind }: Step): boolean {
  return kind.startsWith('remove-');
}

/** Refusals that the next pass, with a new look at the world, will know what to do about. */
function pendingMessage(step: Step, error: unknown): string | undefined {
  if (!(error instanceof EngineError)) return undefined;
  if (error instanceof ConflictError || error.code === 'NAME_TAKEN') return error.message;
  // In use until the last task of a service that is going has ended.
  if (isRemoval(step) && error.code === 'REFUSED') return error.message;
  // Gone from the swarm, but still listed by the manager's engine, whose containers leave it only now.
  const isLeaving = step.kind === 'remove-network' && /network \S+ not found/.test(error.message);
  return isLeaving ? error.message : undefined;
}
