import type { Role } from '../../provisioners/contract.ts';
import { ConflictError, EngineError } from '../swarm/engine-error.ts';
import { TRIED_LABEL } from '../swarm/labels.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { Labels, LiveNode, NodeSpec } from '../swarm/swarm-types.ts';
import type { StepOutcome } from './apply-plan.ts';
import type { Step } from './cluster-plan.ts';
import { findSwarmNode } from './node-identity.ts';
import { managerApi, poll, type StepWork } from './step-tools.ts';

/** A node that just joined is in the managers' list a moment later. */
const appearMs = 5_000;
/** swarmkit's role manager looks every 5 s. */
const demoteMs = 15_000;
/** Status and role reports move a node's version at any time. */
const attempts = 5;

/** Sets all labels of the node that the machine is now. */
export async function labelNode(name: string, Labels: Labels, work: StepWork): Promise<void> {
  const id = await currentId(name, work);
  await editNode(id, (spec) => ({ ...spec, Labels }), work);
}

/** Has the node use the job's checkpoint, and labels it when that went well: whoever asks later need not try it again. */
export async function tryCheckpoint(
  { target, nodeId, use, hash }: Extract<Step, { kind: 'try-checkpoint' }>,
  work: StepWork,
): Promise<void> {
  const handle = await work.pool.handle(target, work.signal);
  work.mayWrite();
  await work.tryCheckpoint(handle, use, work.signal);
  await editNode(nodeId, (spec) => ({ ...spec, Labels: { ...spec.Labels, [TRIED_LABEL]: hash } }), work);
}

/** Promotes or demotes; a demotion is done when the raft has let the node go. */
export async function setRole(name: string, role: Role, work: StepWork): Promise<StepOutcome | undefined> {
  const id = await currentId(name, work);
  return changeRole(id, role, name, work);
}

/** Strikes a node from the swarm's list, whatever state it is in. */
export async function removeNode(id: string, work: StepWork): Promise<StepOutcome | undefined> {
  const swarm = await managerApi(work);
  const live = await findById(id, swarm, work);
  if (!live) return undefined;
  if (live.Spec.Role === 'manager') {
    const demoted = await changeRole(id, 'worker', live.Description.Hostname, work);
    if (demoted) return demoted;
  }
  work.mayWrite();
  await swarm.removeNode(id, { force: true }, work.signal);
  return undefined;
}

async function changeRole(
  id: string,
  Role: Role,
  name: string,
  work: StepWork,
): Promise<StepOutcome | undefined> {
  await editNode(id, (spec) => ({ ...spec, Role }), work);
  const swarm = await managerApi(work);
  const isManager = Role === 'manager';
  const settled = async () => {
    const live = await findById(id, swarm, work);
    return (live?.ManagerStatus !== undefined) === isManager ? true : undefined;
  };
  const inTime = await poll(settled, demoteMs, work);
  work.pool.doubt(name);
  return inTime
    ? undefined
    : { state: 'pending', message: `the raft has not ${isManager ? 'taken it in' : 'let it go'} yet` };
}

/** Reads, changes, writes, and does so again when someone else wrote meanwhile. */
async function editNode(id: string, edit: (spec: NodeSpec) => NodeSpec, work: StepWork): Promise<void> {
  const swarm = await managerApi(work);
  for (let attempt = 1; ; attempt++) {
    const live = await findById(id, swarm, work);
    if (!live) throw new EngineError('NOT_FOUND', `the swarm has no node ${id}`);
    work.mayWrite();
    try {
      return await swarm.updateNode(live, edit(live.Spec), work.signal);
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt === attempts) throw error;
    }
  }
}

/** The id under which the machine is in the swarm now, once the managers list it. */
async function currentId(name: string, work: StepWork): Promise<string> {
  const swarm = await managerApi(work);
  const look = work.pool.lastLook(name);
  const listed = await poll(
    async () => findSwarmNode(name, look, await swarm.listNodes(work.signal))?.ID,
    appearMs,
    work,
  );
  if (listed === undefined) throw new EngineError('NOT_FOUND', `the swarm does not list ${name}`);
  return listed;
}

async function findById(
  id: string,
  swarm: SwarmGateway,
  { signal }: StepWork,
): Promise<LiveNode | undefined> {
  return (await swarm.listNodes(signal)).find(({ ID }) => ID === id);
}
