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
import type { KeyPair } from '../shared/keys.ts';
import { untilAborted } from '../shared/until-aborted.ts';
import { codeOf, isMissing } from './aws-errors.ts';
import { lookAgainMs, settleMs } from './clock.ts';
import { nameOf, nameTag, orderToken, tags } from './labels.ts';
import { bareKey, one, tagList, tagValue } from './part.ts';
import type { Shared } from './parts.ts';
import { userData } from './user-data.ts';

/** One instance with our tags. */
export interface SeenInstance {
  readonly id: string;
  readonly node: string;
  readonly state: 'pending' | 'running' | 'stopping' | 'stopped' | 'shutting-down' | 'terminated';
  /** Private, and fixed. */
  readonly address: string;
  /** Another one each time that it is started. */
  readonly publicAddress?: string;
  readonly zone?: string;
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
  #asked: { readonly atMs: number; readonly answer: Promise<readonly SeenInstance[]> } | undefined;
  #image: Promise<BootImage> | undefined;

  constructor(shared: Shared) {
    this.#shared = shared;
  }

  /** All that AWS still tells of, those that are terminated included; seen by several at once is asked once. */
  list(signal: AbortSignal): Promise<readonly SeenInstance[]> {
    const { clock } = this.#shared;
    const { answer: last, atMs = -Infinity } = this.#asked ?? {};
    if (last && clock.now() < atMs + freshMs) return untilAborted(last, signal);
    // Whoever gives up waiting for it does not take it from the others.
    const answer = this.#describe(AbortSignal.timeout(describeMs));
    this.#asked = { atMs: clock.now(), answer };
    answer.catch(() => this.#forget(answer));
    return untilAborted(answer, signal);
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

  /** Orders a machine, once: an order that comes again finds the machine of the first. */
  async order(order: MachineOrder, ids: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const { name } = order.spec;
    const seen = await this.list(signal);
    const ended = seen.filter((each) => each.node === name && !isAlive(each)).length;
    for (let life = ended; life < ended + mostLives; life++) {
      const outcome = await this.#run(order, life, ids, signal);
      this.#asked = undefined;
      if (outcome === 'ordered') return;
      // Either its machine is to be seen soon, or it has been gone for so long that nobody tells of it.
      if (outcome === 'ordered otherwise' && (await this.#appears(name, signal))) return;
    }
    throw new ProvisionError([`${name} was ordered and lost ${mostLives} times`]);
  }

  async stop({ id }: SeenInstance, abortSignal: AbortSignal): Promise<void> {
    await this.#shared.aws.ec2.send(new StopInstancesCommand(powerOffOrder(id)), { abortSignal });
    this.#asked = undefined;
  }

  async start({ id }: SeenInstance, abortSignal: AbortSignal): Promise<void> {
    await this.#shared.aws.ec2.send(new StartInstancesCommand({ InstanceIds: [id] }), { abortSignal });
    this.#asked = undefined;
  }

  /** Ends what lives of these; resolves when AWS says so, or tells of them no more. */
  async terminate(
    wanted: (seen: SeenInstance) => boolean,
    signal: AbortSignal,
  ): Promise<readonly SeenInstance[]> {
    const { aws, clock } = this.#shared;
    const ended = new Map<string, SeenInstance>();
    for (;;) {
      this.#asked = undefined;
      const left = (await this.list(signal)).filter((each) => wanted(each) && each.state !== 'terminated');
      if (left.length === 0) return [...ended.values()];
      for (const each of left.filter(isAlive)) {
        const order = new TerminateInstancesCommand({ InstanceIds: [each.id] });
        await aws.ec2.send(order, { abortSignal: signal }).catch((error: unknown) => {
          if (!isMissing(error)) throw error;
        });
        ended.set(each.id, each);
      }
      await clock.sleep(lookAgainMs, signal);
    }
  }

  /** Puts tags on an instance. */
  async tag(
    { id }: SeenInstance,
    values: Readonly<Record<string, string>>,
    abortSignal: AbortSignal,
  ): Promise<void> {
    const order = new CreateTagsCommand({ Resources: [id], Tags: tagList(values) });
    await this.#shared.aws.ec2.send(order, { abortSignal });
    this.#asked = undefined;
  }

  async #appears(node: string, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#shared;
    for (const untilMs = clock.now() + settleMs; clock.now() <= untilMs; ) {
      if (await this.find(node, signal)) return true;
      await clock.sleep(lookAgainMs, signal);
    }
    return false;
  }

  #forget(answer: Promise<unknown>): void {
    if (this.#asked?.answer === answer) this.#asked = undefined;
  }

  async #describe(abortSignal: AbortSignal): Promise<readonly SeenInstance[]> {
    const { aws, cluster } = this.#shared;
    const Filters: Filter[] = [{ Name: `tag:${tags.cluster}`, Values: [cluster] }];
    const found: Instance[] = [];
    let NextToken: string | undefined;
    do {
      const page = { Filters, MaxResults: 1_000, ...(NextToken !== undefined && { NextToken }) };
      const answer = await aws.ec2.send(new DescribeInstancesCommand(page), { abortSignal });
      found.push(...(answer.Reservations ?? []).flatMap(({ Instances: each = [] }) => each));
      NextToken = answer.NextToken;
    } while (NextToken);
    return found.map(seenInstance);
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
      [nameTag]: `${nameOf(cluster)}-${spec.name}`,
      [tags.cluster]: cluster,
      [tags.node]: spec.name,
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
      TagSpecifications: (['instance', 'volume', 'network-interface'] as const).map((ResourceType) => ({
        ResourceType,
        Tags: tagList(ResourceType === 'instance' ? ownTags : volumeTags(ownTags)),
      })),
    });
    try {
      const { Instances: [made] = [] } = await aws.ec2.send(command, { abortSignal });
      return made && isAlive(seenInstance(made)) ? 'ordered' : 'was ended';
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

function volumeTags(own: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { [nameTag]: name = '', [tags.cluster]: cluster = '', [tags.node]: node = '' } = own;
  return { [nameTag]: name, [tags.cluster]: cluster, [tags.node]: node };
}

function seenInstance(found: Instance): SeenInstance {
  const { InstanceId = '', State, PrivateIpAddress = '', PublicIpAddress, Placement, Tags } = found;
  const keys = [tags.hostKey, tags.nextHostKey].flatMap((name) => tagValue(Tags, name) ?? []);
  return {
    ...{ id: InstanceId, node: tagValue(Tags, tags.node) ?? '', state: State?.Name ?? 'pending' },
    ...{
      address: PrivateIpAddress,
      ...(PublicIpAddress !== undefined && { publicAddress: PublicIpAddress }),
      ...(Placement?.AvailabilityZone !== undefined && { zone: Placement.AvailabilityZone }),
    },
    settingsHash: tagValue(Tags, tags.settingsHash) ?? '',
    clientKey: tagValue(Tags, tags.clientKey) ?? '',
    hostKeys: [...new Set(keys)],
    hasOwnKey: keys.length === 2 && keys[0] === keys[1],
  };
}
