import { messageOf, ProvisionError } from '../contract.ts';
import { explained, isDuplicate, isInUse, isRefusal } from './aws-errors.ts';
import { lookAgainMs, settleMs } from './clock.ts';
import { subnetsOf } from './config.ts';
import type { KnownPart, Memory } from './memory.ts';
import type { Found, Part, Scene } from './part.ts';
import { bucketPart, profilePart, rolePart } from './parts-of-bucket.ts';
import {
  formerSubnetPart,
  gatewayPart,
  groupPart,
  keyPart,
  routesPart,
  subnetPart,
  vpcPart,
} from './parts-of-network.ts';
import { blackholePart } from './zone-acls.ts';

/** Interfaces of a machine that was terminated are in use for a while. */
const freeMs = 300_000;

export interface Shared extends Omit<Scene, 'ids' | 'knownId' | 'isOrdered'> {
  readonly memory: Memory<KnownPart>;
  /** One line for people per change made in the world. */
  readonly progress: (line: string) => void;
}

/** Makes what is not there and mends what is not as it should be; resolves with the ids of the parts, by name. */
export async function ensureParts(shared: Shared, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const ids = new Map<string, string>();
  for (const part of await partsOf(shared)) {
    const found = await asking(part, 'made', () => ensurePart(part, ids, shared, signal));
    note(part, found, ids);
  }
  return ids;
}

/** In words, what `ensureParts` would do. */
export async function lackingParts(shared: Shared, signal: AbortSignal): Promise<readonly string[]> {
  const ids = new Map<string, string>();
  const told: string[] = [];
  for (const part of await partsOf(shared)) {
    const scene = await sceneOf(part, ids, shared);
    const found = await asking(part, 'looked at', () => part.find(scene, signal));
    if (found) note(part, found, ids);
    told.push(
      ...(found ? found.lacks.map(({ what }) => `${part.name} ${what}`) : [`${part.name} is not there`]),
    );
  }
  return told;
}

/**
 * Removes what bears our tags. `endMachines` is asked before, and again while something is in use: there may be one that
 * nobody has listed yet. Resolves with what is left, and why.
 */
export async function removeParts(
  shared: Shared,
  endMachines: () => Promise<void>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const ids = new Map<string, string>();
  const present: { readonly part: Part; readonly found: Found }[] = [];
  for (const part of [...(await partsOf(shared)), ...(await formerParts(shared))]) {
    const found = await asking(part, 'looked at', () => findSettled(part, ids, shared, signal));
    if (!found) continue;
    note(part, found, ids);
    if (found.isTagged) present.push({ part, found });
  }
  await endMachines();
  const left: string[] = [];
  for (const { part, found } of present.reverse()) {
    const scene = await sceneOf(part, ids, shared);
    const remove = () => whenFree(() => part.remove(scene, found, signal), endMachines, shared, signal);
    const reason = await asking(part, 'removed', remove);
    if (reason === undefined) {
      await shared.memory.forget(part.name);
      shared.progress(`removed ${part.name} ${found.id}`);
    } else left.push(reason);
  }
  return left;
}

/** All that machines share, each after those that it needs; they are removed the other way round. */
async function partsOf({ config, memory }: Shared): Promise<readonly Part[]> {
  const known = Object.keys(await memory.all());
  const subnets = subnetsOf(config).map(subnetPart);
  // Those of the bucket only where one is asked for, or was: who needs none need not be allowed to look.
  const ofBucket = [bucketPart, rolePart, profilePart].filter(
    ({ name }) => config.bucket || known.includes(name),
  );
  // Nobody would be left outside of the only zone.
  const ofZones = subnets.length > 1 || known.includes(blackholePart.name) ? [blackholePart] : [];
  return [vpcPart, gatewayPart, routesPart, ...subnets, ...ofZones, groupPart, keyPart, ...ofBucket];
}

/** Those that this manifest does not ask for any more. */
async function formerParts({ config, memory }: Shared): Promise<readonly Part[]> {
  const wanted = subnetsOf(config).map(({ part }) => part);
  const known = Object.keys(await memory.all()).filter((name) => name.startsWith('subnet'));
  return known.filter((name) => !wanted.includes(name)).map(formerSubnetPart);
}

function note(part: Part, { id, account }: Found, ids: Map<string, string>): void {
  ids.set(part.name, id);
  if (account !== undefined) ids.set('account', account);
}

async function sceneOf(part: Part, ids: ReadonlyMap<string, string>, shared: Shared): Promise<Scene> {
  const { id, orderedMs } = (await shared.memory.get(part.name)) ?? {};
  return { ...shared, ids, isOrdered: orderedMs !== undefined, ...(id !== undefined && { knownId: id }) };
}

async function asking<T>(part: Part, verb: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if ((error as Error | undefined)?.name === 'AbortError') throw error;
    throw explained(error, `${part.name} could not be ${verb}`);
  }
}

async function ensurePart(
  part: Part,
  ids: ReadonlyMap<string, string>,
  shared: Shared,
  signal: AbortSignal,
): Promise<Found> {
  const { memory, clock, progress } = shared;
  let found = await findSettled(part, ids, shared, signal);
  if (!found) {
    found = await orderPart(part, ids, shared, signal);
    progress(`created ${part.name} ${found.id}`);
  }
  await memory.write(part.name, { id: found.id });
  for (const untilMs = clock.now() + settleMs; found.pending || found.lacks.length > 0; ) {
    if (clock.now() > untilMs) {
      const why = found.pending ? 'is not ready' : found.lacks.map(({ what }) => what).join(', ');
      throw new ProvisionError([`${part.name} ${found.id} ${why}, after ${settleMs / 1000} s`]);
    }
    for (const { what, mend } of found.pending ? [] : found.lacks) {
      await mend();
      progress(`mended ${part.name} ${found.id}, which ${what}`);
    }
    found = await untilFound(part, ids, shared, signal);
  }
  return found;
}

/** As it is; where it was ordered lately and is not to be seen, as it will be. */
async function findSettled(
  part: Part,
  ids: ReadonlyMap<string, string>,
  shared: Shared,
  signal: AbortSignal,
): Promise<Found | undefined> {
  const { orderedMs } = (await shared.memory.get(part.name)) ?? {};
  for (;;) {
    const found = await part.find(await sceneOf(part, ids, shared), signal);
    if (found || orderedMs === undefined || shared.clock.now() > orderedMs + settleMs) return found;
    await shared.clock.sleep(lookAgainMs, signal);
  }
}

/** Orders it, with a note of that on disk before: whoever comes after a crash waits until it must be seen. */
async function orderPart(
  part: Part,
  ids: ReadonlyMap<string, string>,
  shared: Shared,
  signal: AbortSignal,
): Promise<Found> {
  const { memory, clock } = shared;
  await memory.write(part.name, { orderedMs: clock.now() });
  try {
    await part.make(await sceneOf(part, ids, shared), signal);
  } catch (error) {
    if (!isDuplicate(error)) {
      if (isRefusal(error)) await memory.forget(part.name);
      throw error;
    }
    // Either an earlier order of ours is not to be seen yet, or it belongs to somebody else.
    return untilFound(part, ids, shared, signal).catch(async (late: unknown) => {
      if (!(late instanceof ProvisionError)) throw late;
      await memory.forget(part.name);
      const message = `there is a ${part.name} of that name already, without our tags: rename it, or the cluster`;
      throw new ProvisionError([message], { cause: error, needsHelp: true });
    });
  }
  return untilFound(part, ids, shared, signal);
}

async function untilFound(
  part: Part,
  ids: ReadonlyMap<string, string>,
  shared: Shared,
  signal: AbortSignal,
): Promise<Found> {
  for (const untilMs = shared.clock.now() + settleMs; ; ) {
    const found = await part.find(await sceneOf(part, ids, shared), signal);
    if (found) return found;
    if (shared.clock.now() > untilMs)
      throw new ProvisionError([
        `${part.name} was ordered, and is not to be seen after ${settleMs / 1000} s`,
      ]);
    await shared.clock.sleep(lookAgainMs, signal);
  }
}

async function whenFree<T>(
  work: () => Promise<T>,
  endMachines: () => Promise<void>,
  { clock }: Shared,
  signal: AbortSignal,
): Promise<T> {
  for (const untilMs = clock.now() + freeMs; ; ) {
    try {
      return await work();
    } catch (error) {
      if (!isInUse(error)) throw error;
      if (clock.now() > untilMs)
        throw new ProvisionError([`it is in use by something that is not ours: ${messageOf(error)}`], {
          cause: error,
          needsHelp: true,
        });
      await clock.sleep(lookAgainMs, signal);
      await endMachines();
    }
  }
}
