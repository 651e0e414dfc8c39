import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { seededRandom } from '../../state-machines/seeded-random.ts';
import type { Moto } from './moto.ts';

/** How likely, per call, something goes wrong that AWS documents; 0 to 1. */
export interface Trouble {
  readonly seed: number;
  readonly throttled?: number;
  readonly failed?: number;
  /** Of orders: done, and nobody is told. */
  readonly replyLost?: number;
  /** Looks at most until what was made is seen. */
  readonly hiddenLooks?: number;
  /** Looks at most until a machine is in the state that was ordered. */
  readonly slowLooks?: number;
}

/** An instance as it was ordered. */
export interface InstanceOrder {
  readonly id: string;
  /** Private. */
  readonly address: string;
  readonly userData: string;
  /** The line of authorized_keys that its key pair was imported with. */
  readonly publicKey: string;
  /** How far answers of the metadata service go. */
  readonly hopLimit: number;
  /** That of its profile, if it has one. */
  readonly role?: RoleCredentials;
}

/** What an instance has from its role, for a while. */
export interface RoleCredentials {
  /** Of the role. */
  readonly name: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly token: string;
}

/** What is behind the instances, where something is. Each call resolves when the machine is in that state. */
export interface Machines {
  run(order: InstanceOrder): Promise<void>;
  stop(id: string): Promise<void>;
  start(id: string): Promise<void>;
  terminate(id: string): Promise<void>;
  /** Nothing comes or goes beyond this network any more; undefined: it does again. */
  confine(id: string, network: string | undefined): Promise<void>;
}

interface TrackedInstance {
  readonly subnet: string;
  readonly group: string;
  readonly address: string;
  readonly token: string;
  goal: 'running' | 'stopped' | 'terminated';
  /** What its machine is doing, one after the other. */
  work: Promise<void>;
  isBusy: boolean;
  /** Looks until it is there. */
  slow: number;
  /** Looks for which it is told as terminated. */
  remembered: number;
}

interface Answer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

const xml = { 'content-type': 'text/xml' };

/** Sets of a description and the id in each of their items. */
const described: Readonly<Record<string, readonly [set: string, id: string]>> = {
  DescribeVpcs: ['vpcSet', 'vpcId'],
  DescribeSubnets: ['subnetSet', 'subnetId'],
  DescribeInternetGateways: ['internetGatewaySet', 'internetGatewayId'],
  DescribeSecurityGroups: ['securityGroupInfo', 'groupId'],
  DescribeKeyPairs: ['keySet', 'keyPairId'],
  DescribeNetworkAcls: ['networkAclSet', 'networkAclId'],
  DescribeInstances: ['reservationSet', 'instanceId'],
};
const createdId: Readonly<Record<string, string>> = {
  CreateVpc: 'vpcId',
  CreateSubnet: 'subnetId',
  CreateInternetGateway: 'internetGatewayId',
  CreateSecurityGroup: 'groupId',
  ImportKeyPair: 'keyPairId',
  CreateNetworkAcl: 'networkAclId',
  RunInstances: 'instanceId',
};
/** Debian's, of which moto knows nothing; the older one and a stranger's come with it. */
const images = [
  ['ami-0aaaaaaaaaaaaaaaa', '136693071363', '2026-11-01T00:00:00.000Z'],
  ['ami-0bbbbbbbbbbbbbbbb', '136693071363', '2026-09-01T00:00:00.000Z'],
  ['ami-0cccccccccccccccc', '999999999999', '2026-12-01T00:00:00.000Z'],
] as const;

/**
 * Stands between the SDK and moto, and is what AWS is and moto is not: slow, forgetful for a while, strict about tokens,
 * addresses and what is in use, and at times broken. All chance comes from a seed.
 */
export class StrictAws {
  /** `service Action` of each call that came, in order. */
  readonly calls: string[] = [];
  /** All that ever came, over resets. */
  readonly everCalled = new Set<string>();
  /** Told the number of each call before it is answered; true: whoever asked is dead, and nobody gets the answer. */
  crashes: (call: number) => boolean = () => false;
  /** Refuses an action with a code, as AWS refuses what is not allowed or over a quota. */
  readonly refusals = new Map<string, string>();
  readonly #moto: Moto;
  readonly #machines: Machines | undefined;
  readonly #serving = new Set<Promise<void>>();
  readonly #server = createServer((incoming, outgoing) => {
    const served = this.#serve(incoming, outgoing).finally(() => this.#serving.delete(served));
    this.#serving.add(served);
  });
  readonly #sockets = new Set<Socket>();
  #trouble: Trouble = { seed: 0 };
  #random = seededRandom(0);
  readonly #instances = new Map<string, TrackedInstance>();
  readonly #tokens = new Map<string, { readonly order: string; readonly id: string }>();
  readonly #hidden = new Map<string, number>();
  /** Subnet, group or ACL -> VPC; gateway -> the VPC that it is attached to. */
  readonly #within = new Map<string, string>();
  /** Networks of subnets, and subnets of associations with an ACL. */
  readonly #networks = new Map<string, string>();
  readonly #associated = new Map<string, string>();
  /** Public keys by the names under which they were imported. */
  readonly #keys = new Map<string, string>();
  /** Roles by their profiles, and what each may do. */
  readonly #roles = new Map<string, string>();
  readonly #allowed = new Map<string, readonly string[]>();
  /** Those that were given to instances, by the id of their key. */
  readonly #credentials = new Map<string, RoleCredentials>();

  constructor(moto: Moto, machines?: Machines) {
    this.#moto = moto;
    this.#machines = machines;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
  }

  async listen(address = '127.0.0.1'): Promise<string> {
    this.#server.listen(0, address);
    await once(this.#server, 'listening');
    const { port } = this.#server.address() as { port: number };
    return `http://${address}:${port}`;
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  /** An account in which nothing was made, and other troubles. */
  async reset(trouble: Trouble): Promise<void> {
    await this.#moto.reset();
    this.#trouble = trouble;
    this.#random = seededRandom(trouble.seed);
    this.calls.length = 0;
    this.crashes = () => false;
    this.refusals.clear();
    for (const table of [this.#instances, this.#tokens, this.#hidden, this.#within]) table.clear();
    for (const table of [this.#roles, this.#allowed, this.#credentials]) table.clear();
    for (const table of [this.#networks, this.#associated]) table.clear();
  }

  /** Until what was asked for is done, also when who asked is no more: the next process begins later than that. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#serving);
  }

  /** Ids of machines that live, whoever is told of them. */
  living(): readonly string[] {
    return [...this.#instances].filter(([, { goal }]) => goal !== 'terminated').map(([id]) => id);
  }

  /** What was made is not to be seen, or heard of, for so many looks more. */
  hide(id: string, looks: number): void {
    this.#hidden.set(id, looks);
  }

  /** Somebody else's hand on a machine. */
  power(id: string, goal: 'stopped' | 'terminated'): void {
    Object.assign(this.#instances.get(id)!, { goal });
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await buffer(incoming);
    const { authorization = '' } = incoming.headers;
    const [, keyId = '', service = 's3'] =
      /Credential=([^/]*)\/.*\/([a-z0-9]+)\/aws4_request/.exec(authorization) ?? [];
    const form = new URLSearchParams(service === 's3' ? '' : body.toString());
    const action = form.get('Action') ?? `${incoming.method} ${s3Question(incoming.url ?? '')}`;
    const role = this.#credentials.get(keyId);
    const caller = role ? `${role.name}: ` : '';
    this.calls.push(`${caller}${service} ${action}`);
    this.everCalled.add(`${caller}${service} ${action}`);
    const isRead = /^(Describe|Get|List|GET|HEAD)/.test(action);
    const crashed = this.crashes(this.calls.length);
    const refused = role && this.#refuseRole(role, action, incoming);
    if (refused) return reply(outgoing, refused);
    const isDone = !crashed || this.#chance(0.5);
    const answer = isDone ? await this.#answer(service, action, form, incoming, body) : undefined;
    if (!answer || crashed || (!isRead && answer.status < 300 && this.#chance(this.#trouble.replyLost)))
      return void incoming.socket.destroy();
    reply(outgoing, answer);
  }

  async #answer(
    service: string,
    action: string,
    form: URLSearchParams,
    incoming: IncomingMessage,
    body: Buffer,
  ): Promise<Answer> {
    const refusal = this.refusals.get(action);
    if (refusal !== undefined) return failure(service, refusal, 400);
    if (this.#chance(this.#trouble.throttled))
      return failure(service, service === 's3' ? 'SlowDown' : 'RequestLimitExceeded', 503);
    if (this.#chance(this.#trouble.failed)) return failure(service, 'InternalError', 500);
    if (action === 'CreateInstanceProfile')
      this.#hidden.set(form.get('InstanceProfileName')!, this.#looks(this.#trouble.hiddenLooks));
    if (service === 'iam') this.#noteRoles(action, form);
    if (service !== 'ec2') return this.#forward(incoming, body);
    if (action === 'DescribeImages') return imageList(form);
    const refused = this.#refuse(action, form) ?? this.#repeated(action, form);
    if (refused) return refused;
    const answer = await this.#forward(incoming, byNetworkAclId(form) ?? body);
    if (answer.status >= 300) return answer;
    const text = this.#note(action, form, answer.body.toString());
    return { ...answer, body: Buffer.from(text) };
  }

  /** What the policy of a role does not allow, and who does not have its session. */
  #refuseRole({ name, token }: RoleCredentials, action: string, { headers, url = '' }: IncomingMessage) {
    const [, bucket = ''] = new URL(url, 'http://s3').pathname.split('/');
    const resource = `arn:aws:s3:::${bucket}${action.includes('object') ? '/*' : ''}`;
    const needed = (permissions[action] ?? [action]).map((permission) => `${permission} ${resource}`);
    const allowed = this.#allowed.get(name) ?? [];
    const lacking = needed.find((permission) => !allowed.includes(permission));
    if (headers['x-amz-security-token'] === token && lacking === undefined) return undefined;
    return failure(
      's3',
      'AccessDenied',
      403,
      `${name} may not ${lacking ?? 'do anything without its token'}`,
    );
  }

  /** Which role a profile has, and what that may do. */
  #noteRoles(action: string, form: URLSearchParams): void {
    const role = form.get('RoleName') ?? '';
    if (action === 'AddRoleToInstanceProfile') this.#roles.set(form.get('InstanceProfileName')!, role);
    if (action !== 'PutRolePolicy') return;
    const { Statement } = JSON.parse(form.get('PolicyDocument')!) as {
      readonly Statement: readonly { readonly Action: readonly string[]; readonly Resource: string }[];
    };
    const allowed = Statement.flatMap(({ Action, Resource }) => Action.map((each) => `${each} ${Resource}`));
    this.#allowed.set(role, allowed);
  }

  /** Those of the role of a profile. */
  #drawCredentials(profile: string): RoleCredentials | undefined {
    const name = this.#roles.get(profile);
    if (name === undefined) return undefined;
    const [accessKeyId, secretAccessKey, token] = [`ASIA${this.#credentials.size}`, 'secret', randomUUID()];
    const drawn = { name, accessKeyId, secretAccessKey, token };
    this.#credentials.set(accessKeyId, drawn);
    return drawn;
  }

  #chance(share = 0): boolean {
    return share > 0 && this.#random() < share;
  }

  #looks(most = 0): number {
    return Math.floor(this.#random() * (most + 1));
  }

  /** What AWS would not do, and moto does. */
  #refuse(action: string, form: URLSearchParams): Answer | undefined {
    const given = (name: string) => form.get(name) ?? '';
    const living = [...this.#instances.values()].filter(
      ({ goal, slow, isBusy }) => goal !== 'terminated' || slow > 0 || isBusy,
    );
    const inside = (vpc: string) => [...this.#within].filter(([, of]) => of === vpc).map(([id]) => id);
    const violation = (is: boolean) => (is ? failure('ec2', 'DependencyViolation', 400) : undefined);
    const profile = form.get('IamInstanceProfile.Name') ?? '';
    const unheard = this.#hidden.get(profile) ?? 0;
    if (unheard > 0) {
      this.#hidden.set(profile, unheard - 1);
      return failure(
        'ec2',
        'InvalidParameterValue',
        400,
        `Value (${profile}) for parameter iamInstanceProfile.name is invalid`,
      );
    }
    const hidden = [...form.values()].find((value) => (this.#hidden.get(value) ?? 0) > 0);
    if (hidden !== undefined && !action.startsWith('Describe'))
      return failure('ec2', notFoundCode(hidden), 400);
    switch (action) {
      case 'DeleteSubnet':
        return violation(living.some(({ subnet }) => subnet === given('SubnetId')));
      case 'DeleteSecurityGroup':
        return violation(living.some(({ group }) => group === given('GroupId')));
      case 'DetachInternetGateway':
        return violation(living.some(({ subnet }) => this.#within.get(subnet) === given('VpcId')));
      case 'DeleteInternetGateway':
        return violation(this.#within.has(given('InternetGatewayId')));
      case 'ReplaceNetworkAclAssociation': // each has an id of its own
        return this.#associated.has(given('AssociationId'))
          ? undefined
          : failure('ec2', 'InvalidAssociationID.NotFound', 400);
      case 'DeleteVpc':
        return violation(inside(given('VpcId')).length > 0);
      default:
        return undefined;
    }
  }

  /** An order with a token that was used, and an address that is taken. */
  #repeated(action: string, form: URLSearchParams): Answer | undefined {
    if (action !== 'RunInstances') return undefined;
    const token = form.get('ClientToken') ?? '';
    const earlier = this.#tokens.get(token);
    if (earlier) {
      const instance = this.#instances.get(earlier.id)!;
      if (earlier.order !== orderOf(form)) return failure('ec2', 'IdempotentParameterMismatch', 400);
      if (instance.goal === 'terminated') return failure('ec2', 'IdempotentInstanceTerminated', 400);
      return reservation(earlier.id, this.#stateOf(instance));
    }
    const address = form.get('NetworkInterface.1.PrivateIpAddress');
    const isTaken = [...this.#instances.values()].some(
      (each) => each.address === address && (each.goal !== 'terminated' || each.slow > 0 || each.isBusy),
    );
    return isTaken ? failure('ec2', 'InvalidIPAddress.InUse', 400) : undefined;
  }

  /** Keeps what an order has made, and tells descriptions as AWS would. */
  #note(action: string, form: URLSearchParams, text: string): string {
    const idName = createdId[action];
    const id = idName && new RegExp(`<${idName}>([^<]+)</${idName}>`).exec(text)?.[1];
    if (id) this.#hidden.set(id, this.#looks(this.#trouble.hiddenLooks));
    const vpc = form.get('VpcId') ?? '';
    switch (action) {
      case 'ImportKeyPair':
        this.#keys.set(
          form.get('KeyName')!,
          Buffer.from(form.get('PublicKeyMaterial')!, 'base64').toString().trim(),
        );
        break;
      case 'CreateSubnet':
      case 'CreateSecurityGroup':
      case 'CreateNetworkAcl':
        this.#within.set(id!, vpc);
        this.#networks.set(id!, form.get('CidrBlock') ?? '');
        break;
      case 'ReplaceNetworkAclAssociation':
        this.#associate(form, /<newAssociationId>([^<]+)</.exec(text)![1]!);
        break;
      case 'DescribeNetworkAcls':
        for (const [, fields = ''] of text.matchAll(/<associationSet>(.*?)<\/associationSet>/gs))
          for (const item of fields.split('</item>').slice(0, -1))
            this.#associated.set(
              /<networkAclAssociationId>([^<]+)</.exec(item)![1]!,
              /<subnetId>([^<]+)</.exec(item)![1]!,
            );
        return this.#look(action, text);
      case 'DeleteNetworkAcl':
        this.#within.delete(form.get('NetworkAclId')!);
        break;
      case 'AttachInternetGateway':
        this.#within.set(form.get('InternetGatewayId')!, vpc);
        break;
      case 'DetachInternetGateway':
        this.#within.delete(form.get('InternetGatewayId')!);
        break;
      case 'DeleteSubnet':
        this.#within.delete(form.get('SubnetId')!);
        break;
      case 'DeleteSecurityGroup':
        this.#within.delete(form.get('GroupId')!);
        break;
      case 'RunInstances':
        this.#instances.set(id!, {
          subnet: form.get('NetworkInterface.1.SubnetId') ?? '',
          group: form.get('NetworkInterface.1.SecurityGroupId.1') ?? '',
          address: form.get('NetworkInterface.1.PrivateIpAddress') ?? '',
          token: form.get('ClientToken') ?? '',
          ...{ goal: 'running', slow: this.#looks(this.#trouble.slowLooks), remembered: 20 },
          ...{ work: Promise.resolve(), isBusy: false },
        });
        this.#behind(id!, (machines) => {
          const role = this.#drawCredentials(form.get('IamInstanceProfile.Name') ?? '');
          return machines.run({
            id: id!,
            address: form.get('NetworkInterface.1.PrivateIpAddress') ?? '',
            userData: Buffer.from(form.get('UserData') ?? '', 'base64').toString(),
            publicKey: this.#keys.get(form.get('KeyName') ?? '') ?? '',
            hopLimit: Number(form.get('MetadataOptions.HttpPutResponseHopLimit')),
            ...(role && { role }),
          });
        });
        this.#tokens.set(form.get('ClientToken')!, { order: orderOf(form), id: id! });
        break;
      case 'TerminateInstances':
        this.#order(form, 'terminated');
        break;
      case 'StopInstances':
        this.#order(form, 'stopped');
        break;
      case 'StartInstances':
        this.#order(form, 'running');
        break;
      default:
        return action in described ? this.#look(action, text) : text;
    }
    return text;
  }

  /** An ACL that was made lets nothing through; only that which came with its VPC does. */
  #associate(form: URLSearchParams, association: string): void {
    const subnet = this.#associated.get(form.get('AssociationId')!)!;
    this.#associated.delete(form.get('AssociationId')!);
    this.#associated.set(association, subnet);
    const network = this.#within.has(form.get('NetworkAclId')!) ? this.#networks.get(subnet) : undefined;
    for (const [id, instance] of this.#instances)
      if (instance.subnet === subnet && instance.goal === 'running')
        this.#machines
          ?.confine(id, network)
          .catch((error: unknown) => process.stderr.write(`machine of ${id}: ${error}\n`));
  }

  #order(form: URLSearchParams, goal: TrackedInstance['goal']): void {
    for (const [name, id] of form) {
      const instance = name.startsWith('InstanceId.') && this.#instances.get(id);
      if (!instance || instance.goal === 'terminated') continue;
      if (instance.goal === goal) continue;
      instance.slow = this.#looks(this.#trouble.slowLooks);
      instance.goal = goal;
      const verb = { running: 'start', stopped: 'stop', terminated: 'terminate' } as const;
      this.#behind(id, (machines) => machines[verb[goal]](id));
    }
  }

  /** The machine does it after what it is doing; until then its instance is on the way. */
  #behind(id: string, work: (machines: Machines) => Promise<void>): void {
    const instance = this.#instances.get(id);
    if (!this.#machines || !instance) return;
    const machines = this.#machines;
    instance.isBusy = true;
    const done = instance.work.then(() => work(machines));
    instance.work = done;
    done
      .finally(() => {
        if (instance.work === done) instance.isBusy = false;
      })
      .catch((error: unknown) => process.stderr.write(`machine of ${id}: ${error}\n`));
  }

  /** Takes out what is not to be seen yet, and tells each machine's state as it would be by now. */
  #look(action: string, text: string): string {
    const [set, idName] = described[action]!;
    return mapItems(text, set, (item) => {
      const id = new RegExp(`<${idName}>([^<]+)</${idName}>`).exec(item)?.[1] ?? '';
      const hidden = this.#hidden.get(id) ?? 0;
      if (hidden > 0) {
        this.#hidden.set(id, hidden - 1);
        return '';
      }
      const instance = this.#instances.get(id);
      if (!instance) return item;
      const [code, name] = this.#stateOf(instance);
      if (instance.slow > 0) instance.slow -= 1;
      else if (instance.goal === 'terminated' && --instance.remembered < 0) return '';
      const state = `<instanceState><code>${code}</code><name>${name}</name></instanceState>`;
      const told = item.replace(/<instanceState>[\s\S]*?<\/instanceState>/, state);
      // No machine of a test has an address in the world.
      return told.replace(/<ipAddress>[^<]*<\/ipAddress>/, `<ipAddress>${instance.address}</ipAddress>`);
    });
  }

  #stateOf({ goal, slow, isBusy }: TrackedInstance): readonly [code: number, name: string] {
    const isOnTheWay = slow > 0 || isBusy;
    if (goal === 'running') return isOnTheWay ? [0, 'pending'] : [16, 'running'];
    if (goal === 'stopped') return isOnTheWay ? [64, 'stopping'] : [80, 'stopped'];
    return isOnTheWay ? [32, 'shutting-down'] : [48, 'terminated'];
  }

  #forward(incoming: IncomingMessage, body: Buffer): Promise<Answer> {
    const { host, port } = this.#moto;
    const { method, url: path } = incoming;
    const headers = { ...incoming.headers, 'content-length': body.length };
    return new Promise((resolve, reject) => {
      const call = request({ host, port, method, path, headers }, (answer) => {
        buffer(answer).then((bytes) => {
          resolve({ status: answer.statusCode ?? 500, headers: answer.headers, body: bytes });
        }, reject);
      });
      call.on('error', reject);
      call.end(body);
    });
  }
}

/** What tells an order from another; its signature and token do not. */
function orderOf(form: URLSearchParams): string {
  const rest = [...form].filter(([name]) => name !== 'ClientToken');
  return JSON.stringify(rest.sort(([a], [b]) => a.localeCompare(b)));
}

/** Moto fails on a filter by the id of a network ACL, and knows it as a parameter. */
function byNetworkAclId(form: URLSearchParams): Buffer | undefined {
  const [filter] = [...form].find(([, value]) => value === 'network-acl-id') ?? [];
  const [, index] = /^Filter\.(\d+)\.Name$/.exec(filter ?? '') ?? [];
  if (index === undefined) return undefined;
  const rest = [...form].filter(([name]) => !name.startsWith(`Filter.${index}.`));
  return Buffer.from(
    String(new URLSearchParams([...rest, ['NetworkAclId.1', form.get(`Filter.${index}.Value.1`)!]])),
  );
}

/** Of a bucket, of an object, and about which of its properties. */
function s3Question(url: string): string {
  const { pathname, searchParams } = new URL(url, 'http://s3');
  const [about = ''] = [...searchParams.keys()].filter((name) => name !== 'x-id');
  return `${pathname.split('/').filter(Boolean).length > 1 ? 'object' : 'bucket'}${about && `?${about}`}`;
}

/** What calls of S3 are called in policies, where that is not their name. */
const permissions: Readonly<Record<string, readonly string[]>> = {
  'HEAD bucket': ['s3:ListBucket'],
  'GET bucket': ['s3:ListBucket'],
  'GET bucket?list-type': ['s3:ListBucket'],
  'GET bucket?location': ['s3:GetBucketLocation'],
  'GET bucket?uploads': ['s3:ListBucketMultipartUploads'],
  'POST bucket?delete': ['s3:DeleteObject'],
  'HEAD object': ['s3:GetObject'],
  'GET object': ['s3:GetObject'],
  'PUT object': ['s3:PutObject'],
  'DELETE object': ['s3:DeleteObject'],
  'POST object?uploads': ['s3:PutObject'],
  'PUT object?partNumber': ['s3:PutObject'],
  'POST object?uploadId': ['s3:PutObject'],
  'DELETE object?uploadId': ['s3:AbortMultipartUpload'],
};

function reply(outgoing: ServerResponse, { status, headers, body }: Answer): void {
  const { 'transfer-encoding': _, connection: __, ...kept } = headers;
  const isEmpty = body.length === 0;
  // Of what is only asked about, the length is that of what is not sent.
  outgoing.writeHead(status, isEmpty ? kept : { ...kept, 'content-length': body.length });
  outgoing.end(body);
}

function failure(service: string, code: string, status: number, said = `${code}, says the test`): Answer {
  const error = `<Code>${code}</Code><Message>${said}</Message>`;
  const body = {
    ec2: `<Response><Errors><Error>${error}</Error></Errors><RequestID>r</RequestID></Response>`,
    iam: `<ErrorResponse><Error><Type>Sender</Type>${error}</Error><RequestId>r</RequestId></ErrorResponse>`,
    s3: `<Error>${error}<RequestId>r</RequestId></Error>`,
  }[service]!;
  return { status, headers: xml, body: Buffer.from(body) };
}

function notFoundCode(id: string): string {
  const [kind = ''] = id.split('-');
  const names: Readonly<Record<string, string>> = {
    vpc: 'InvalidVpcID.NotFound',
    subnet: 'InvalidSubnetID.NotFound',
    igw: 'InvalidInternetGatewayID.NotFound',
    sg: 'InvalidGroup.NotFound',
    key: 'InvalidKeyPair.NotFound',
    i: 'InvalidInstanceID.NotFound',
    acl: 'InvalidNetworkAclID.NotFound',
  };
  return names[kind] ?? 'InvalidID';
}

function reservation(id: string, [code, name]: readonly [number, string]): Answer {
  const state = `<instanceState><code>${code}</code><name>${name}</name></instanceState>`;
  const body = `<RunInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instancesSet><item><instanceId>${id}</instanceId>${state}</item></instancesSet></RunInstancesResponse>`;
  return { status: 200, headers: xml, body: Buffer.from(body) };
}

function imageList(form: URLSearchParams): Answer {
  const owner = form.get('Owner.1');
  const asked = form.get('ImageId.1');
  const items = images
    .filter(([id]) => asked === null || id === asked)
    // A careless endpoint: it tells of a stranger's image, too.
    .filter(([, of]) => owner === null || of === owner || of.startsWith('9'))
    .map(
      ([id, of, made]) =>
        `<item><imageId>${id}</imageId><imageOwnerId>${of}</imageOwnerId><creationDate>${made}</creationDate><rootDeviceName>/dev/xvda</rootDeviceName></item>`,
    );
  const body = `<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><imagesSet>${items.join('')}</imagesSet></DescribeImagesResponse>`;
  return { status: 200, headers: xml, body: Buffer.from(body) };
}

/** Replaces each outermost item of the first set of that name. */
export function mapItems(xml: string, set: string, change: (item: string) => string): string {
  const [open, close] = [`<${set}>`, `</${set}>`];
  const start = xml.indexOf(open);
  const end = xml.lastIndexOf(close);
  if (start < 0 || end < 0) return xml;
  const inner = xml.slice(start + open.length, end);
  const items: string[] = [];
  let depth = 0;
  let from = 0;
  for (const { 0: mark, index } of inner.matchAll(/<\/?item>/g)) {
    if (mark === '<item>' && depth++ === 0) from = index;
    if (mark === '</item>' && --depth === 0) items.push(inner.slice(from, index + mark.length));
  }
  return `${xml.slice(0, start)}${open}${items.map(change).join('')}${xml.slice(end)}`;
}
