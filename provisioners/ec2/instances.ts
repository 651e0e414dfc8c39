import {
  CreateTagsCommand,
  DescribeImagesCommand,
  DescribeInstancesCommand,
  type Filter,
  type Instance,
  RunInstancesCommand,
  StartInstancesCommand,
  StopInstancesCommand,
  type StopInstancesCommandInput,
  TerminateInstancesCommand,
} from '@aws-sdk/client-ec2';
import { quantityBytes } from '../../crds/quantity.ts';
import { type MachineSpec, messageOf, ProvisionError } from '../contract.ts';
import { deadline } from '../deadline.ts';
import type { KeyPair } from '../shared/keys.ts';
import { untilAborted } from '../shared/until-aborted.ts';
import { codeOf } from './aws-errors.ts';
import { lookAgainMs, settleMs } from './clock.ts';
import { nameOf, nameTag, orderToken, tags } from './labels.ts';
import type { KnownMachine, Memory } from './memory.ts';
import { bareKey, gone, one, tagList } from './part.ts';
import type { Shared } from './parts.ts';
import { userData } from './user-data.ts';
import type { ZoneNetwork } from './zone-acls.ts';

/** One instance of ours, with its tags as we have put them on, where we know that, whatever became of them. */
export interface SeenInstance {
  readonly id: string;
  readonly node: string;
  /** Whether it bears the tag that makes it ours: without that it is mended, and never ended. */
  readonly isTagged: boolean;
  /** Tags that it should bear, and does not. */
  readonly lacks: Readonly<Record<string, string>>;
  /** Names of tags of which neither it nor we know what they were. */
  readonly lost: readonly string[];
  /** Of the order that made it. */
  readonly token: string;
  /** All that is known of its tags. */
  readonly tags: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'running' | 'stopping' | 'stopped' | 'shutting-down' | 'terminated';
  /** Private, and fixed. */
  readonly address: string;
  /** Another one each time that it is started. */
  readonly publicAddress?: string;
  readonly zone?: string;
  readonly network: ZoneNetwork;
  readonly isSpot: boolean;
  readonly settingsHash: string;
  readonly clientKey: string;
  /** Base64 of the raw public host keys that it may show: one, but while it is given a new one. */
  readonly hostKeys: readonly string[];
  /** Whether it shows one that never was in its user data. */
  readonly hasOwnKey: boolean;
}

/** What a new machine is to be like. */
export interface MachineOrder {
  readonly spec: MachineSpec;
  readonly address: string;
  /** Its part, which is that of its zone. */
  readonly subnet: string;
  readonly instanceType: string;
  readonly isSpot: boolean;
  readonly settingsHash: string;
  /** For the first contact; the same when the order is given again. */
  readonly bootKey: (life: number) => Promise<KeyPair>;
}

interface BootImage {
  readonly id: string;
  readonly rootDevice: string;
}

/** Debian's account, which publishes its images; see wiki.debian.org/Cloud/AmazonEC2Image. */
const debianAccount = '136693071363';
/** A description this old is as good as a new one; whoever waits at the same time shares it. */
const freshMs = 1_000;
const describeMs = 60_000;
/** So many machines of one name nobody loses within the day for which AWS remembers an order. */
const mostLives = 100;

/** The instances of one cluster, read from their tags. */
export class Instances {
  readonly #shared: Shared;
  readonly #known: Memory<KnownMachine>;
  /** What AWS told lately, by what it was asked. */
  readonly #told = new Map<
    string,
    { readonly atMs: number; readonly answer: Promise<readonly SeenInstance[]> }
  >();
  #image: Promise<BootImage> | undefined;

  constructor(shared: Shared, known: Memory<KnownMachine>) {
    this.#shared = shared;
    this.#known = known;
  }

  /** All that AWS still tells of, those that are terminated included; seen by several at once is asked once. */
  list(signal: AbortSignal): Promise<readonly SeenInstance[]> {
    return this.#ask('ours', (bounded) => this.#describeOurs(bounded), signal);
  }

  /** The one of a name that lives. */
  async find(node: string, signal: AbortSignal): Promise<SeenInstance | undefined> {
    const living = (await this.list(signal)).filter((each) => each.node === node && isAlive(each));
    return one(`machine ${node}`, living, 'id');
  }

  /** Looks until it is as `wanted`; undefined is what is not to be seen. Rejects when that takes longer than `limitMs`. */
  async until(
    node: string,
    what: string,
    limitMs: number,
    wanted: (seen: SeenInstance | undefined) => boolean,
    signal: AbortSignal,
  ): Promise<SeenInstance | undefined> {
    const { clock } = this.#shared;
    for (const untilMs = clock.now() + limitMs; ; ) {
      const seen = await this.find(node, signal);
      if (wanted(seen)) return seen;
      if (clock.now() > untilMs)
        throw new ProvisionError([
          `${node} is ${seen?.state ?? 'not to be seen'}, and not ${what}, after ${limitMs / 1000} s`,
        ]);
      await clock.sleep(lookAgainMs, signal);
    }
  }

  /**
   * Orders a machine, once: an order that comes again finds the machine of the first, also one whose tags were taken off.
   */
  async order(order: MachineOrder, ids: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const { name } = order.spec;
    const seen = await this.list(signal);
    const ended = seen.filter((each) => each.node === name && !isAlive(each)).length;
    const astray = await this.#astray(name, ids.get('vpc')!, signal);
    if (astray) return this.mend(astray, signal);
    for (let life = ended; life < ended + mostLives; life++) {
      const outcome = await this.#run(order, life, ids, signal);
      this.#told.clear();
      if (outcome === 'ordered') return;
      // Either its machine is to be seen soon, or it has been gone for so long that nobody tells of it.
      if (outcome === 'ordered otherwise' && (await this.#appears(name, signal))) return;
    }
    throw new ProvisionError([`${name} was ordered and lost ${mostLives} times`]);
  }

  async stop({ id }: SeenInstance, abortSignal: AbortSignal): Promise<void> {
    await this.#shared.aws.ec2.send(new StopInstancesCommand(powerOffOrder(id)), { abortSignal });
    this.#told.clear();
  }

  async start({ id }: SeenInstance, abortSignal: AbortSignal): Promise<void> {
    await this.#shared.aws.ec2.send(new StartInstancesCommand({ InstanceIds: [id] }), { abortSignal });
    this.#told.clear();
  }

  /** Ends what lives of these; resolves when AWS says so, or tells of them no more. */
  async terminate(
    wanted: (seen: SeenInstance) => boolean,
    signal: AbortSignal,
  ): Promise<readonly SeenInstance[]> {
    const { clock } = this.#shared;
    const ended = new Map<string, SeenInstance>();
    for (;;) {
      this.#told.clear();
      const left = (await this.list(signal)).filter((each) => wanted(each) && each.state !== 'terminated');
      if (left.length === 0) return [...ended.values()];
      const astray = left.filter((each) => isAlive(each) && !each.isTagged);
      if (astray.length > 0)
        throw new ProvisionError(
          astray.map(
            ({ id, node }) =>
              `${node} (${id}) does not bear the tag ${tags.cluster} any more: put it on again, or end ${node} yourself`,
          ),
          { needsHelp: true },
        );
      for (const each of left.filter(isAlive)) {
        await this.end(each, signal);
        ended.set(each.id, each);
      }
      await clock.sleep(lookAgainMs, signal);
    }
  }

  /** Orders the end of an instance, once and for all. */
  async end({ id }: SeenInstance, abortSignal: AbortSignal): Promise<void> {
    await gone(
      this.#shared.aws.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }), { abortSignal }),
    );
    this.#told.clear();
  }

  /** Puts tags on an instance, and keeps what they are: before that, so that nobody ever takes the older ones for right. */
  async tag(
    { id, node, tags: borne }: SeenInstance,
    values: Readonly<Record<string, string>>,
    abortSignal: AbortSignal,
  ): Promise<void> {
    const known = await this.#known.get(node);
    const had = known?.id === id ? known.tags : borne;
    await this.#known.write(node, { id, tags: { ...had, ...values } });
    await this.#putTags(id, values, abortSignal);
  }

  /** Keeps what the tags of a machine are, and puts those on again that it lacks. */
  async mend({ id, node, lacks, lost, tags: own }: SeenInstance, abortSignal: AbortSignal): Promise<void> {
    if (lost.length > 0)
      throw new ProvisionError(
        [
          `${node} (${id}) has lost its tags ${lost.join(', ')}, and nothing here knows what they were: put them on again, or end it, and another one is made`,
        ],
        { needsHelp: true },
      );
    await this.#known.write(node, { id, tags: { ...own, ...lacks } });
    if (Object.keys(lacks).length > 0) await this.#putTags(id, lacks, abortSignal);
  }

  /** What was kept of a machine that is no more. */
  forget(node: string): Promise<void> {
    return this.#known.forget(node);
  }

  async #putTags(
    id: string,
    values: Readonly<Record<string, string>>,
    abortSignal: AbortSignal,
  ): Promise<void> {
    const order = new CreateTagsCommand({ Resources: [id], Tags: tagList(values) });
    await this.#shared.aws.ec2.send(order, { abortSignal });
    this.#told.clear();
  }

  /** One that was ordered for this node and lives, and does not say so any more. */
  async #astray(node: string, vpc: string, signal: AbortSignal): Promise<SeenInstance | undefined> {
    const all = await this.#ask(
      vpc,
      (bounded) => this.#describe([{ Name: 'vpc-id', Values: [vpc] }], {}, bounded),
      signal,
    );
    const tokens = new Set(Array.from({ length: mostLives }, (_, life) => orderToken(vpc, node, life)));
    const isHidden = (each: SeenInstance) => !each.isTagged || each.node !== node;
    const found = all.find((each) => isAlive(each) && isHidden(each) && tokens.has(each.token));
    if (!found) return undefined;
    const lost = found.lost.filter((name) => name !== tags.node);
    return { ...found, node, lost, lacks: { ...found.lacks, ...identityTags(this.#shared.cluster, node) } };
  }

  async #appears(node: string, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#shared;
    for (const untilMs = clock.now() + settleMs; clock.now() <= untilMs; ) {
      if (await this.find(node, signal)) return true;
      await clock.sleep(lookAgainMs, signal);
    }
    return false;
  }

  #ask(
    what: string,
    work: (bounded: AbortSignal) => Promise<readonly SeenInstance[]>,
    signal: AbortSignal,
  ): Promise<readonly SeenInstance[]> {
    const { clock } = this.#shared;
    const last = this.#told.get(what);
    if (last && clock.now() < last.atMs + freshMs) return untilAborted(last.answer, signal);
    // Whoever gives up waiting for it does not take it from the others.
    const answer = work(deadline(describeMs));
    const told = { atMs: clock.now(), answer };
    this.#told.set(what, told);
    answer.catch(() => {
      if (this.#told.get(what) === told) this.#told.delete(what);
    });
    return untilAborted(answer, signal);
  }

  /** By their tags; those that lost these by the ids under which we know them. */
  async #describeOurs(abortSignal: AbortSignal): Promise<readonly SeenInstance[]> {
    const known = Object.entries(await this.#known.all());
    const byId = Object.fromEntries(known.map(([node, { id, tags: own }]) => [id, { node, tags: own }]));
    const bearing = [{ Name: `tag:${tags.cluster}`, Values: [this.#shared.cluster] }];
    const found = await this.#describe(bearing, byId, abortSignal);
    const missed = Object.keys(byId).filter((id) => !found.some((each) => each.id === id));
    if (missed.length === 0) return found;
    const named = [{ Name: 'instance-id', Values: missed }];
    return [...found, ...(await this.#describe(named, byId, abortSignal))];
  }

  async #describe(
    Filters: Filter[],
    known: KnownById,
    abortSignal: AbortSignal,
  ): Promise<readonly SeenInstance[]> {
    const { aws, cluster } = this.#shared;
    const found: Instance[] = [];
    let NextToken: string | undefined;
    do {
      const page = { Filters, MaxResults: 1_000, ...(NextToken !== undefined && { NextToken }) };
      const answer = await aws.ec2.send(new DescribeInstancesCommand(page), { abortSignal });
      found.push(...(answer.Reservations ?? []).flatMap(({ Instances: each = [] }) => each));
      NextToken = answer.NextToken;
    } while (NextToken);
    return found.map((each) => seenInstance(each, cluster, known));
  }

  async #run(
    order: MachineOrder,
    life: number,
    ids: ReadonlyMap<string, string>,
    abortSignal: AbortSignal,
  ): Promise<'ordered' | 'ordered otherwise' | 'was ended'> {
    const { aws, config, cluster, clientKey } = this.#shared;
    const { spec, address, settingsHash } = order;
    const [bootKey, image] = await Promise.all([order.bootKey(life), this.#imageOnce(abortSignal)]);
    const ownTags = {
      ...identityTags(cluster, spec.name),
      [tags.settingsHash]: settingsHash,
      [tags.clientKey]: bareKey(clientKey),
      [tags.hostKey]: bareKey(bootKey.publicKey).split(' ')[1]!,
    };
    const profile = ids.get('profile');
    const command = new RunInstancesCommand({
      ...{ MinCount: 1, MaxCount: 1, ClientToken: orderToken(ids.get('vpc')!, spec.name, life) },
      ...{ ImageId: image.id, KeyName: nameOf(cluster) },
      InstanceType: order.instanceType as 'm6i.large',
      NetworkInterfaces: [
        {
          ...{ DeviceIndex: 0, SubnetId: ids.get(order.subnet)!, Groups: [ids.get('group')!] },
          ...{ PrivateIpAddress: address, AssociatePublicIpAddress: true, DeleteOnTermination: true },
        },
      ],
      BlockDeviceMappings: [
        {
          DeviceName: image.rootDevice,
          Ebs: {
            ...{ VolumeType: 'gp3', Encrypted: true, DeleteOnTermination: true },
            VolumeSize: quantityBytes(config.disk) / 1024 ** 3,
          },
        },
      ],
      // Containers are one hop further away; they get no role where there is none.
      MetadataOptions: {
        ...{ HttpEndpoint: 'enabled', HttpTokens: 'required' },
        HttpPutResponseHopLimit: profile === undefined ? 1 : 2,
      },
      ...(profile !== undefined && { IamInstanceProfile: { Name: profile } }),
      ...(order.isSpot && {
        InstanceMarketOptions: {
          MarketType: 'spot',
          SpotOptions: { SpotInstanceType: 'one-time', InstanceInterruptionBehavior: 'terminate' },
        },
      }),
      UserData: Buffer.from(userData(spec.name, bootKey)).toString('base64'),
      TagSpecifications: [
        { ResourceType: 'instance', Tags: tagList(ownTags) },
        ...besideIt
          .filter((type) => order.isSpot || type !== 'spot-instances-request')
          .map((ResourceType) => ({ ResourceType, Tags: tagList(identityTags(cluster, spec.name)) })),
      ],
    });
    try {
      const { Instances: [made] = [] } = await aws.ec2.send(command, { abortSignal });
      const seen = made && seenInstance(made, cluster, {});
      if (!seen || !isAlive(seen)) return 'was ended';
      const known = await this.#known.get(spec.name);
      if (known?.id !== seen.id) await this.#known.write(spec.name, { id: seen.id, tags: ownTags });
      return 'ordered';
    } catch (error) {
      if (codeOf(error) === 'IdempotentInstanceTerminated') return 'was ended';
      if (codeOf(error) === 'IdempotentParameterMismatch') return 'ordered otherwise';
      // There is no code of its own for a profile that IAM has made and EC2 has not heard of.
      if (codeOf(error) === 'InvalidParameterValue' && /iamInstanceProfile/i.test(messageOf(error)))
        throw new ProvisionError([`${spec.name}: EC2 does not know its instance profile yet`], {
          cause: error,
        });
      throw error;
    }
  }

  /** The same for all machines that this process orders. */
  #imageOnce(abortSignal: AbortSignal): Promise<BootImage> {
    this.#image ??= this.#findImage(abortSignal).catch((error: unknown) => {
      this.#image = undefined;
      throw error;
    });
    return this.#image;
  }

  async #findImage(abortSignal: AbortSignal): Promise<BootImage> {
    const { aws, config } = this.#shared;
    const newest = {
      Owners: [debianAccount],
      Filters: [
        { Name: 'name', Values: ['debian-13-amd64-*'] },
        { Name: 'architecture', Values: ['x86_64'] },
        { Name: 'state', Values: ['available'] },
      ],
    };
    const query = config.image === undefined ? newest : { ImageIds: [config.image] };
    const { Images = [] } = await aws.ec2.send(new DescribeImagesCommand(query), { abortSignal });
    // Whoever else names an image so is not asked for; it costs nothing to look.
    const [found] = Images.filter(
      ({ OwnerId }) => config.image !== undefined || OwnerId === debianAccount,
    ).sort((a, b) => (b.CreationDate ?? '').localeCompare(a.CreationDate ?? ''));
    if (found?.ImageId) return { id: found.ImageId, rootDevice: found.RootDeviceName ?? '/dev/xvda' };
    const what = config.image ?? "an image of Debian 13 of Debian's account";
    throw new ProvisionError([`there is no ${what} in this region: give another one as \`image\``], {
      needsHelp: true,
    });
  }
}

/** As if the plug were pulled: the machine has no say in it. */
export function powerOffOrder(id: string): StopInstancesCommandInput {
  return { InstanceIds: [id], Force: true, SkipOsShutdown: true };
}

export function isAlive({ state }: SeenInstance): boolean {
  return state !== 'shutting-down' && state !== 'terminated';
}

/** What is made with an instance, and bears tags of its own. */
const besideIt = ['volume', 'network-interface', 'spot-instances-request'] as const;

/** Whose it is, for people and for us. */
function identityTags(cluster: string, node: string): Readonly<Record<string, string>> {
  return { [nameTag]: `${nameOf(cluster)}-${node}`, [tags.cluster]: cluster, [tags.node]: node };
}

/** Without these a machine cannot be told, judged, or entered. */
const neededTags = [tags.node, tags.settingsHash, tags.clientKey, tags.hostKey];

/** What we know of machines, by their ids. */
type KnownById = Readonly<
  Record<string, { readonly node: string; readonly tags: Readonly<Record<string, string>> }>
>;

function seenInstance(found: Instance, cluster: string, known: KnownById): SeenInstance {
  const { InstanceId = '', State, PrivateIpAddress = '', PublicIpAddress, Placement } = found;
  const borne = Object.fromEntries((found.Tags ?? []).map(({ Key = '', Value = '' }) => [Key, Value]));
  const ours = known[InstanceId];
  const prefix = `${nameOf(cluster)}-`;
  const called = borne[nameTag]?.startsWith(prefix) ? borne[nameTag].slice(prefix.length) : '';
  const node = ours?.node ?? borne[tags.node] ?? called;
  const wanted = { ...ours?.tags, ...(node !== '' && identityTags(cluster, node)) };
  const own = { ...borne, ...wanted };
  const keys = [tags.hostKey, tags.nextHostKey].flatMap((name) => own[name] ?? []);
  return {
    ...{ id: InstanceId, node, state: State?.Name ?? 'pending', token: found.ClientToken ?? '' },
    isTagged: borne[tags.cluster] === cluster,
    lacks: Object.fromEntries(Object.entries(wanted).filter(([name, value]) => borne[name] !== value)),
    lost: neededTags.filter((name) => own[name] === undefined),
    tags: own,
    ...{
      address: PrivateIpAddress,
      ...(PublicIpAddress !== undefined && { publicAddress: PublicIpAddress }),
      ...(Placement?.AvailabilityZone !== undefined && { zone: Placement.AvailabilityZone }),
    },
    network: { subnetId: found.SubnetId ?? '', vpcId: found.VpcId ?? '' },
    isSpot: found.InstanceLifecycle === 'spot',
    settingsHash: own[tags.settingsHash] ?? '',
    clientKey: own[tags.clientKey] ?? '',
    hostKeys: [...new Set(keys)],
    hasOwnKey: keys.length === 2 && keys[0] === keys[1],
  };
}
