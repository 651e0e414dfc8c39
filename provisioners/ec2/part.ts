import {
  CreateTagsCommand,
  type Filter,
  type ResourceType,
  type Tag,
  type TagSpecification,
} from '@aws-sdk/client-ec2';
import { ProvisionError } from '../contract.ts';
import type { Aws } from './aws.ts';
import { codeOf, isDuplicate, isMissing } from './aws-errors.ts';
import type { Ec2Clock } from './clock.ts';
import type { Ec2Config } from './config.ts';
import { nameOf, nameTag, tags } from './labels.ts';

/** What parts are found and made with. */
export interface Scene {
  readonly aws: Aws;
  readonly config: Ec2Config;
  readonly cluster: string;
  /** The line of authorized_keys that machines are to let in. */
  readonly clientKey: string;
  /** Ids of the parts that stand earlier in the list, by name; `account` is the owner's. */
  readonly ids: ReadonlyMap<string, string>;
  /** Id under which the part that is looked for was last known, whatever became of its tags. */
  readonly knownId?: string;
  readonly clock: Ec2Clock;
  /** Whether it was ordered by us, and not seen since. */
  readonly isOrdered: boolean;
}

/** One way in which something is not as it should be. */
export interface Lack {
  readonly what: string;
  readonly mend: () => Promise<unknown>;
}

export interface Found {
  readonly id: string;
  /** It is there, and not to be used yet. */
  readonly pending?: boolean;
  /** Without its tags it is mended, and never removed. */
  readonly isTagged: boolean;
  readonly lacks: readonly Lack[];
  readonly account?: string;
}

/** One thing that the machines of a cluster share. */
export interface Part {
  readonly name: string;
  /** Undefined where there is none; rejects with a ProvisionError where there is more than one, or one of others. */
  find(scene: Scene, abortSignal: AbortSignal): Promise<Found | undefined>;
  make(scene: Scene, abortSignal: AbortSignal): Promise<unknown>;
  /** Resolves with why it is left, where it is. */
  remove(scene: Scene, found: Found, abortSignal: AbortSignal): Promise<string | undefined>;
}

/** Type and key of a line of authorized_keys, without its comment. */
export function bareKey(line: string): string {
  return line.trim().split(/\s+/).slice(0, 2).join(' ');
}

/** What stands on a part. */
export function partTags(cluster: string, part: string): Readonly<Record<string, string>> {
  return { [nameTag]: nameOf(cluster), [tags.cluster]: cluster, [tags.part]: part };
}

export function tagList(values: Readonly<Record<string, string>>): { Key: string; Value: string }[] {
  return Object.entries(values).map(([Key, Value]) => ({ Key, Value }));
}

export function tagged(
  cluster: string,
  part: string,
  ResourceType: ResourceType,
  more: Readonly<Record<string, string>> = {},
): TagSpecification[] {
  return [{ ResourceType, Tags: tagList({ ...partTags(cluster, part), ...more }) }];
}

export function tagValue(found: readonly Tag[] | undefined, name: string): string | undefined {
  return found?.find(({ Key }) => Key === name)?.Value;
}

/** Whether something bears the tag that makes it ours, and how those that it lacks are put on. */
export function tagging(
  { aws, cluster }: Scene,
  part: string,
  id: string,
  found: readonly Tag[] | undefined,
): Pick<Found, 'isTagged' | 'lacks'> {
  const lacking = Object.entries(partTags(cluster, part)).filter(
    ([name, value]) => tagValue(found, name) !== value,
  );
  const order = new CreateTagsCommand({ Resources: [id], Tags: tagList(Object.fromEntries(lacking)) });
  const lack = { what: `lacks ${lacking.map(([name]) => name).join(', ')}`, mend: () => aws.ec2.send(order) };
  return { isTagged: tagValue(found, tags.cluster) === cluster, lacks: lacking.length > 0 ? [lack] : [] };
}

type Described<I extends string> = { readonly [name in I]?: string | undefined } & {
  readonly Tags?: readonly Tag[] | undefined;
};

/** What is particular to a part that EC2 describes by filters and tags. */
interface TaggedPart<I extends string, T extends Described<I>>
  extends Pick<Part, 'name' | 'make' | 'remove'> {
  /** The filter by its id, and the field of it. */
  readonly id: readonly [filter: string, field: I];
  describe(scene: Scene, filters: Filter[], abortSignal: AbortSignal): Promise<readonly T[] | undefined>;
  judge(
    scene: Scene,
    found: T,
    abortSignal: AbortSignal,
  ): Partial<Pick<Found, 'pending' | 'account' | 'lacks'>>;
}

/** A part that is found by its tags; where these were taken off, by the id under which it was known. */
export function taggedPart<I extends string, T extends Described<I>>(part: TaggedPart<I, T>): Part {
  const { name, describe, judge, make, remove } = part;
  const [idFilter, idField] = part.id;
  const byTags = async (scene: Scene, abortSignal: AbortSignal) => {
    const filters = Object.entries({ [tags.cluster]: scene.cluster, [tags.part]: name });
    const asked = filters.map(([tag, value]) => ({ Name: `tag:${tag}`, Values: [value] }));
    return one(name, (await describe(scene, asked, abortSignal)) ?? [], idField);
  };
  const byId = async (scene: Scene, abortSignal: AbortSignal) => {
    if (scene.knownId === undefined) return undefined;
    const asked = [{ Name: idFilter, Values: [scene.knownId] }];
    const found = await describe(scene, asked, abortSignal).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    return found?.[0];
  };
  return {
    ...{ name, make, remove },
    async find(scene, abortSignal) {
      const found = (await byTags(scene, abortSignal)) ?? (await byId(scene, abortSignal));
      if (!found) return undefined;
      const { lacks, isTagged } = tagging(scene, name, found[idField]!, found.Tags);
      const judged = judge(scene, found, abortSignal);
      return { ...judged, id: found[idField]!, isTagged, lacks: [...lacks, ...(judged.lacks ?? [])] };
    },
  };
}

/** Which of several is the right one nobody can know but a person. */
export function one<I extends string, T extends { readonly [name in I]?: string | undefined }>(
  what: string,
  found: readonly T[],
  idField: I,
): T | undefined {
  if (found.length < 2) return found[0];
  const ids = found.map((each) => each[idField]).join(', ');
  throw new ProvisionError([`there is more than one ${what} with our tags (${ids}): remove the wrong one`], {
    needsHelp: true,
  });
}

/** An order whose effect may be there already. */
export async function made(order: Promise<unknown>, also: RegExp = /^$/): Promise<void> {
  await order.catch((error: unknown) => {
    if (!isDuplicate(error) && !also.test(codeOf(error))) throw error;
  });
}

/** An order to remove what may be gone already. */
export async function gone(order: Promise<unknown>, also: RegExp = /^$/): Promise<undefined> {
  await order.catch((error: unknown) => {
    if (!isMissing(error) && !also.test(codeOf(error))) throw error;
  });
}
