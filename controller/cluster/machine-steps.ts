import { type MachineSpec, OVERLAY_POOL, type Role } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import { EngineError } from '../swarm/engine-error.ts';
import type { StepOutcome } from './apply-plan.ts';
import { managerApi, type StepWork } from './step-tools.ts';

const subnetSize = 24;
const swarmPort = 2377;
const leaveMs = 15_000;

/** Makes a machine, or powers it on, and connects to it. */
export async function createMachine(spec: MachineSpec, work: StepWork): Promise<void> {
  const { provisioner, pool, signal } = work;
  work.mayWrite();
  await provisioner.create(spec, signal);
  const machine = (await provisioner.list(signal)).find(({ name }) => name === spec.name);
  if (!machine) throw new Error(`${spec.name} was made, but is not listed`);
  pool.adopt(machine);
}

/** Makes the machine the first manager of a new swarm. */
export async function initSwarm(name: string, work: StepWork): Promise<void> {
  const { machine, engine } = await work.pool.connection(name, work.signal);
  work.mayWrite();
  await engine.initSwarm(
    { advertiseAddr: machine.address, defaultAddrPool: [OVERLAY_POOL], subnetSize },
    work.signal,
  );
  await work.pool.reach(name, work.signal);
}

/** Makes the machine a member; the token is fetched at use and kept nowhere. */
export async function joinSwarm(
  name: string,
  { role, leaveFirst }: { readonly role: Role; readonly leaveFirst: boolean },
  work: StepWork,
): Promise<StepOutcome | undefined> {
  const { pool, signal } = work;
  const { machine, engine } = await pool.connection(name, signal);
  if (leaveFirst) await leaveSwarm(name, work);
  const { JoinTokens } = await (await managerApi(work)).inspectSwarm(signal);
  const addresses = await Promise.all(pool.managers().map((each) => pool.connection(each, signal)));
  const options = {
    advertiseAddr: machine.address,
    remoteAddrs: addresses.map((manager) => `${manager.machine.address}:${swarmPort}`),
    token: role === 'manager' ? JoinTokens.Manager : JoinTokens.Worker,
  };
  work.mayWrite();
  const joined = await engine.joinSwarm(options, signal);
  await pool.reach(name, signal);
  return joined === 'joined' ? undefined : { state: 'pending', message: 'its engine goes on joining' };
}

/** Ends the machine's membership; an engine that is in no swarm has nothing to end. */
async function leaveSwarm(name: string, work: StepWork): Promise<void> {
  const { engine } = await work.pool.connection(name, work.signal);
  const { info } = await work.pool.reach(name, work.signal);
  if (info.Swarm.LocalNodeState === 'inactive') return;
  work.mayWrite();
  // Managers were demoted, or all go: the engine would refuse to let the last one go unforced.
  await engine.leaveSwarm({ force: true }, work.signal);
  work.pool.doubt(name);
}

/** An engine whose tasks will not end can take minutes over it, or refuse: not for a machine that is destroyed next. */
export async function tryToLeaveSwarm(name: string, work: StepWork): Promise<void> {
  work.mayWrite();
  try {
    await leaveSwarm(name, { ...work, signal: AbortSignal.any([work.signal, deadline(leaveMs)]) });
  } catch {
    work.signal.throwIfAborted();
  }
}

/** Removes a machine and all that was made for it. */
export async function destroyMachine(name: string, work: StepWork): Promise<void> {
  work.mayWrite();
  await work.provisioner.destroy(name, work.signal);
  work.pool.drop(name);
}

/** Brings images to the machine's engine. */
export async function deliverImages(
  name: string,
  references: readonly string[],
  work: StepWork,
): Promise<void> {
  const { engine, handle } = await work.pool.connection(name, work.signal);
  work.mayWrite();
  await work.provisioner.noteImages?.(handle, references, work.signal);
  await work.images.deliver(references, engine, work.signal);
  const { images } = await work.pool.reach(name, work.signal);
  const lacking = references.filter((reference) => images[reference] === undefined);
  if (lacking.length > 0) throw new EngineError('NOT_FOUND', `${name} still lacks ${lacking.join(', ')}`);
}
