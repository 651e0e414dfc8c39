import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AuthorizeSecurityGroupIngressCommand,
  CreateInternetGatewayCommand,
  CreateNetworkAclCommand,
  CreateNetworkAclEntryCommand,
  CreateTagsCommand,
  CreateVpcCommand,
  DeleteNetworkAclCommand,
  DeleteRouteCommand,
  DeleteTagsCommand,
  DescribeInstancesCommand,
  DescribeInternetGatewaysCommand,
  DescribeKeyPairsCommand,
  DescribeNetworkAclsCommand,
  DescribeRouteTablesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVolumesCommand,
  DescribeVpcsCommand,
  DetachInternetGatewayCommand,
  ImportKeyPairCommand,
  ReplaceNetworkAclAssociationCommand,
  ReplaceRouteCommand,
  RevokeSecurityGroupIngressCommand,
  RunInstancesCommand,
} from '@aws-sdk/client-ec2';
import { GetRoleCommand } from '@aws-sdk/client-iam';
import { CreateBucketCommand, ListBucketsCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import t from 'tap';
import { parse } from 'yaml';
import { type MachineSpec, ProvisionError, type Provisioner } from '../provisioners/contract.ts';
import { explained } from '../provisioners/ec2/aws-errors.ts';
import { ec2ConfigSchema } from '../provisioners/ec2/config.ts';
import { bucketName, orderToken, tags } from '../provisioners/ec2/labels.ts';
import { ec2Provisioner } from '../provisioners/ec2/provisioner.ts';
import {
  describeRule,
  permissionOf,
  ruleKey,
  rulesOf,
  wantedRules,
} from '../provisioners/ec2/security-rules.ts';
import { userData } from '../provisioners/ec2/user-data.ts';
import { generateKeyPair } from '../provisioners/shared/keys.ts';
import { seededRandom } from '../state-machines/seeded-random.ts';
import { AwsInventory, nothing } from './support/aws-inventory.ts';
import { eventually, runController } from './support/controller-process.ts';
import { packageRoot } from './support/examples.ts';
import { startMoto } from './support/moto.ts';
import { mapItems, StrictAws, type Trouble } from './support/strict-aws.ts';

const region = 'eu-central-1';
const valid = { region, sshFrom: ['203.0.113.4/32'] };
const config = (more: object = {}) => ec2ConfigSchema.parse({ ...valid, ...more });

t.test('settings that AWS would refuse are refused before it is asked', async (t) => {
  const why = (more: object) => {
    const { error } = ec2ConfigSchema.safeParse({ ...valid, ...more });
    return error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ') ?? 'taken';
  };
  t.equal(why({}), 'taken');
  t.match(why({ region: 'Frankfurt' }), /^region: must be such as eu-central-1/);
  t.match(why({ zone: 'eu-west-1a' }), /^zone: is no zone of eu-central-1/);
  t.match(why({ vpc: '10.0.0.0/8' }), /^vpc: must be an IPv4 network of \/16 to \/28/);
  t.match(why({ subnet: '10.30.0.0/24' }), /^subnet: must lie within the VPC's 10\.20\.0\.0\/16/);
  t.match(why({ vpc: '10.99.0.0/16', subnet: '10.99.1.0/24' }), /must be clear of 10\.99\.0\.0\/16/);
  t.match(why({ sshFrom: [] }), /^sshFrom/);
  t.match(
    why({ sshFrom: ['203.0.113.4/24'] }),
    /^sshFrom\.0: must be an IPv4 network whose host bits are zero/,
  );
  t.equal(why({ sshFrom: ['0.0.0.0/0', '10.0.0.0/8'] }), 'taken');
  t.match(why({ bucket: { name: 'Upper' } }), /^bucket\.name/);
  t.match(
    why({ machines: { node1: { address: '10.20.9.1' } } }),
    /^machines\.node1\.address: must lie within the subnet/,
  );
  const zones = { 'eu-central-1a': '10.20.1.0/24', 'eu-central-1b': '10.20.2.0/24' };
  t.equal(why({ zones, machines: { node2: { zone: 'eu-central-1b', address: '10.20.2.9' } } }), 'taken');
  t.match(why({ zones, zone: 'eu-central-1a' }), /^zones: stands for zone and subnet/);
  t.match(why({ zones: {}, machines: { node2: {} } }), /^zones: must name a zone/);
  t.match(why({ zones: { ...zones, 'eu-west-1a': '10.20.3.0/24' } }), /^zones\.eu-west-1a: is no zone of/);
  t.match(
    why({ zones: { ...zones, 'eu-central-1c': '10.20.2.128/25' } }),
    /^zones\.eu-central-1c: overlaps that of eu-central-1b/,
  );
  t.match(
    why({ zones: { 'eu-central-1a': '10.30.0.0/24' } }),
    /^zones\.eu-central-1a: must lie within the VPC/,
  );
  t.match(why({ machines: { node2: { zone: 'eu-central-1b' } } }), /^machines\.node2\.zone: is none of the/);
  t.match(
    why({ zones, machines: { node2: { zone: 'eu-central-1b', address: '10.20.1.9' } } }),
    /^machines\.node2\.address: must lie within the subnet's 10\.20\.2\.0\/24/,
  );
});

t.test('only ssh comes in from outside, and the rest from the group itself', async (t) => {
  const rules = wantedRules(['203.0.113.4/32', '203.0.113.4/32'], 'sg-1');
  t.same(rules.map(describeRule), [
    'tcp 22 from 203.0.113.4/32',
    'tcp 22 from sg-1',
    'tcp 2377 from sg-1',
    'tcp 7946 from sg-1',
    'udp 7946 from sg-1',
    'udp 4789 from sg-1',
    'icmp from sg-1',
  ]);
  t.same(rulesOf(rules.map(permissionOf)).map(ruleKey), rules.map(ruleKey), 'and reads back what it wrote');
  const open = rulesOf([
    { IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }], Ipv6Ranges: [{ CidrIpv6: '::/0' }] },
  ]);
  t.same(open.map(describeRule), ['everything from 0.0.0.0/0', 'everything from ::/0']);
  t.same(open.map(permissionOf)[1], {
    IpProtocol: '-1',
    FromPort: undefined,
    ToPort: undefined,
    Ipv6Ranges: [{ CidrIpv6: '::/0' }],
  });
});

t.test('an order has a token of its own for each life of a machine of a cluster', async (t) => {
  const tokens = [
    orderToken('vpc-1', 'node1', 0),
    orderToken('vpc-1', 'node1', 1),
    orderToken('vpc-1', 'node2', 0),
    orderToken('vpc-2', 'node1', 0),
  ];
  t.equal(new Set(tokens).size, 4);
  for (const token of tokens) t.match(token, /^[0-9a-f]{64}$/);
  t.equal(orderToken('vpc-1', 'node1', 0), tokens[0]);
  t.equal(bucketName('six-nodes', '123456789012', region), 'sf-six-nodes-123456789012-eu-central-1');
  t.match(bucketName('x'.repeat(60), '123456789012', region), /^sf-[0-9a-f]{12}-123456789012-eu-central-1$/);
});

t.test('a machine knows its name and its host key before its sshd starts', async (t) => {
  const key = generateKeyPair('node1');
  const text = userData('node1', key);
  t.match(text, /^#cloud-config\n/);
  t.match(parse(text), {
    hostname: 'node1',
    ssh_keys: { ed25519_private: key.privateKey, ed25519_public: key.publicKey },
    ssh_pwauth: false,
  });
});

t.test('what AWS refuses is told with what was being done, and whether a person must help', async (t) => {
  const told = (name: string, status = 400) => {
    const error = Object.assign(new Error('as it says'), { name, $metadata: { httpStatusCode: status } });
    const { message, needsHelp } = explained(error, 'node1 could not be made');
    return `${needsHelp ? 'help' : 'later'}: ${message}`;
  };
  t.match(
    told('AuthFailure'),
    /^help: node1 could not be made: AWS does not know these credentials.*\(AuthFailure\)/,
  );
  t.match(told('UnauthorizedOperation', 403), /^help: .*policy\.json/);
  t.match(told('VcpuLimitExceeded'), /^help: .*quota/);
  t.match(told('InvalidIPAddress.InUse'), /^help: .*address is taken/);
  t.match(told('InvalidSubnet.Conflict'), /^help: /);
  t.match(told('RequestLimitExceeded', 503), /^later: /);
  t.match(told('InsufficientInstanceCapacity', 500), /^later: /);
  t.match(told('InternalError', 500), /^later: /);
  const own = new ProvisionError(['mine'], { needsHelp: true });
  t.equal(explained(own, 'x'), own);
});

t.test('items within items stay where they are', async (t) => {
  const xml = '<r><vpcSet><item><a/><tagSet><item>x</item></tagSet></item><item>b</item></vpcSet></r>';
  t.equal(
    mapItems(xml, 'vpcSet', (item) => (item.includes('<a/>') ? '' : item)),
    '<r><vpcSet><item>b</item></vpcSet></r>',
  );
});

/** Of the property at the end; a thousand take a while. */
const runs = Number(process.env.EC2_RUNS ?? 2);
const limitMs = 300_000 + runs * 10_000;
t.setTimeout(limitMs);
const signal = AbortSignal.timeout(limitMs);
const moto = await startMoto(signal);
if ('missing' in moto) {
  // Loudly, and a failure where CI is set: nothing of what follows was shown.
  process.stdout.write(`# SKIPPED: AWS WAS NOT SPOKEN TO. No moto: ${moto.missing}\n`);
  if (process.env.CI) t.bailout(`no moto, and CI is set: ${moto.missing}`);
} else {
  const strict = new StrictAws(moto);
  const endpoint = await strict.listen();
  t.teardown(async () => {
    await strict.close();
    await moto.stop();
  });
  Object.assign(process.env, {
    ...{ AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_ENDPOINT_URL: endpoint },
    AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
  });
  const cluster = 'six-nodes';
  const inventory = new AwsInventory(moto, region, cluster);
  const { ec2, iam, s3, ours } = inventory;
  const present = () => inventory.present();
  const shared = { vpc: 1, subnet: 1, acl: 0, gateway: 1, group: 1, key: 1 };

  /** Sleeps take no time; the clock tells that they did. */
  const clockFrom = (startMs: number) => {
    let nowMs = startMs;
    return {
      now: () => nowMs,
      sleep: async (ms: number, each: AbortSignal) => {
        each.throwIfAborted();
        nowMs += ms;
        await new Promise((resolve) => setImmediate(resolve));
        each.throwIfAborted();
      },
    };
  };
  const clock = clockFrom(1_700_000_000_000);
  const bindIn = (stateDir: string, more: object = {}, progress: (line: string) => void = () => {}) =>
    ec2Provisioner(
      config(more),
      { ...{ cluster, stateDir, cacheDir: stateDir, images: { node: '', seed: [] } }, progress },
      { clock, enter: () => Promise.resolve() },
    );
  const node = (index: number): MachineSpec => ({
    name: `node${index + 1}`,
    role: index === 0 ? 'manager' : 'worker',
    index,
  });
  const calls = (from: number) => strict.calls.slice(from);
  const orders = (from: number) => calls(from).filter((call) => !/ (Describe|Get|List|GET|HEAD)/.test(call));

  t.test('a plan says what would be made and what it costs, and orders nothing', async (t) => {
    await strict.reset({ seed: 12 });
    const dir = t.testdir({ log: '' });
    const manifest = join(packageRoot, 'manifests', 'examples', 'aws', 'cluster.yaml');
    const state = join(dir, 'state');
    const told = await runController(['plan', '-f', manifest, '--state', state], join(dir, 'log'));
    t.match(told, { code: 0, stderr: '' });
    t.match(
      told.stdout,
      /~ ensure-shared +aws: vpc is not there; gateway is not there; .*; key is not there\n/,
    );
    t.match(told.stdout, /\+ create-machine +node1: manager, m6i\.large, the machine does not exist\n/);
    t.match(told.stdout, /i 6 machine-hours each hour, 144 a day: 6 x m6i\.large\n/);
    t.same(orders(0), []);
    t.notOk(existsSync(join(state, 'provisioner')), 'not even a key');
    strict.refusals.set('DescribeInstances', 'AuthFailure');
    const refused = await runController(['plan', '-f', manifest, '--state', state], join(dir, 'log'));
    t.match(refused, { code: 1, stderr: /AWS does not know these credentials/ });
  });

  t.test('what machines share is made once, and looked at without an order', async (t) => {
    await strict.reset({ seed: 1 });
    const dir = join(t.testdir(), 'state');
    const lines: string[] = [];
    const provisioner = bindIn(dir, { bucket: {} }, (line) => void lines.push(line));
    await provisioner.create(node(0), signal);
    t.match(await present(), { ...shared, machine: 1, role: 1, profile: 1, bucket: 1 });
    const [machine] = await provisioner.list(signal);
    t.match(machine, {
      name: 'node1',
      power: 'on',
      address: '10.20.0.11',
      settingsHash: provisioner.settingsHash(node(0)),
    });
    for (const part of ['vpc', 'gateway', 'subnet', 'group', 'key', 'bucket', 'role', 'profile'])
      t.ok(
        lines.some((line) => line.startsWith(`created ${part} `)),
        part,
      );
    const from = strict.calls.length;
    await bindIn(dir, { bucket: {} }).create(node(0), signal);
    t.same(orders(from), [], 'again: no order');
    t.same(await bindIn(dir, { bucket: {} }).list(signal), [machine]);
    await rm(dir, { recursive: true });
    t.same(
      await bindIn(dir, { bucket: {} }).list(signal),
      [machine],
      'also when the state directory is lost',
    );
  });

  t.test('a machine is private to the swarm, encrypted, and asks for its role with a token', async (t) => {
    const { Reservations: [found] = [] } = await ec2.send(new DescribeInstancesCommand({ Filters: ours }));
    const [instance] = found!.Instances!;
    t.match(instance, { MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 2 } });
    t.match(instance!.IamInstanceProfile?.Arn, /sf-six-nodes-eu-central-1$/);
    t.equal(instance!.ImageId, 'ami-0aaaaaaaaaaaaaaaa', "the newest of Debian's own");
  });

  t.test('what was changed by others is mended, and nothing else is touched', async (t) => {
    await strict.reset({ seed: 2 });
    const dir = join(t.testdir(), 'state');
    await bindIn(dir).create(node(0), signal);
    const [vpc] = (await ec2.send(new DescribeVpcsCommand({ Filters: ours }))).Vpcs!;
    const [group] = (await ec2.send(new DescribeSecurityGroupsCommand({ Filters: ours }))).SecurityGroups!;
    const [gateway] = (await ec2.send(new DescribeInternetGatewaysCommand({ Filters: ours })))
      .InternetGateways!;
    const tables = () =>
      ec2.send(new DescribeRouteTablesCommand({ Filters: [{ Name: 'vpc-id', Values: [vpc!.VpcId!] }] }));
    const [table] = (await tables()).RouteTables!;
    const ssh = group!.IpPermissions!.filter(({ FromPort }) => FromPort === 22);
    const open = [{ IpProtocol: 'tcp', FromPort: 8080, ToPort: 8080, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }];
    const GroupId = group!.GroupId!;
    await ec2.send(new RevokeSecurityGroupIngressCommand({ GroupId, IpPermissions: ssh }));
    await ec2.send(new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions: open }));
    await ec2.send(
      new DeleteRouteCommand({ RouteTableId: table!.RouteTableId!, DestinationCidrBlock: '0.0.0.0/0' }),
    );
    await ec2.send(
      new DeleteTagsCommand({ Resources: [vpc!.VpcId!], Tags: [{ Key: tags.cluster }, { Key: 'Name' }] }),
    );
    await ec2.send(
      new DetachInternetGatewayCommand({
        InternetGatewayId: gateway!.InternetGatewayId!,
        VpcId: vpc!.VpcId!,
      }),
    );
    const lacking = await bindIn(dir).shared!.lacks(signal);
    t.match(lacking.join('; '), /vpc lacks Name, spark-failures\.io\/cluster/);
    t.match(lacking.join('; '), /gateway is not attached to the VPC/);
    t.match(lacking.join('; '), /routes has no way out/);
    t.match(
      lacking.join('; '),
      /group does not let in tcp 22 from 203\.0\.113\.4\/32, tcp 22 from sg-\w+; group lets in tcp 8080 from 0\.0\.0\.0\/0/,
    );
    await bindIn(dir).shared!.ensure(signal);
    t.same(await bindIn(dir).shared!.lacks(signal), []);
    t.match(await present(), { ...shared, machine: 1 }, 'nothing was made anew');

    const { InternetGateway: other } = await ec2.send(new CreateInternetGatewayCommand({}));
    const elsewhere = { RouteTableId: table!.RouteTableId!, DestinationCidrBlock: '0.0.0.0/0' };
    await ec2.send(new ReplaceRouteCommand({ ...elsewhere, GatewayId: other!.InternetGatewayId! }));
    t.same(await bindIn(dir).shared!.lacks(signal), ['routes leads out elsewhere']);
    await bindIn(dir).shared!.ensure(signal);
    t.same(await bindIn(dir).shared!.lacks(signal), []);
  });

  t.test('machines live in several zones, and one zone grows to two', async (t) => {
    await strict.reset({ seed: 15 });
    const dir = join(t.testdir(), 'state');
    const alone = bindIn(dir, { zone: 'eu-central-1a', subnet: '10.20.1.0/24' });
    await alone.create(node(0), signal);
    const zones = { 'eu-central-1a': '10.20.1.0/24', 'eu-central-1b': '10.20.2.0/24' };
    const settings = { zones, machines: { node2: { zone: 'eu-central-1b' } } };
    const both = bindIn(dir, settings);
    t.same(await both.shared!.lacks(signal), ['subnet-eu-central-1b is not there', 'blackhole is not there']);
    t.equal(both.settingsHash(node(0)), alone.settingsHash(node(0)), 'who was there is as it should be');
    await both.create(node(1), signal);
    const [first, second] = await both.list(signal);
    t.match(first, { name: 'node1', address: '10.20.1.11', zone: 'eu-central-1a' });
    t.match(second, { name: 'node2', address: '10.20.2.12', zone: 'eu-central-1b' });
    t.match(await present(), { ...shared, subnet: 2, acl: 1, machine: 2 });
    t.not(
      both.settingsHash(node(1)),
      bindIn(dir, { zones }).settingsHash(node(1)),
      'to move is to be replaced',
    );
    const again = bindIn(dir, { zone: 'eu-central-1a', subnet: '10.20.1.0/24' });
    t.same(await again.shared!.lacks(signal), []);
    for (const { name } of [first!, second!]) await again.destroy(name, signal);
    await again.destroyShared(signal);
    t.same(await present(), nothing, 'also of the zone that is not asked for any more');
  });

  t.test('tags of a machine that others changed, or took off, are put on again', async (t) => {
    await strict.reset({ seed: 16, hiddenLooks: 1 });
    const dir = join(t.testdir(), 'state');
    const lines: string[] = [];
    const bind = () => bindIn(dir, {}, (line) => void lines.push(line));
    await bind().create(node(0), signal);
    const [machine] = await bind().list(signal);
    const Resources = [machine!.incarnation];
    const borne = async () => {
      const asked = { InstanceIds: Resources };
      const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand(asked));
      const Tags = Reservations[0]!.Instances![0]!.Tags!;
      return Object.fromEntries(Tags.map(({ Key, Value }) => [Key, Value]).sort());
    };
    const before = await borne();
    t.match(before, { Name: 'sf-six-nodes-node1', [tags.node]: 'node1', [tags.cluster]: cluster });
    const Tags = [tags.settingsHash, tags.node].map((Key) => ({ Key, Value: 'mine' }));
    await ec2.send(new CreateTagsCommand({ Resources, Tags }));
    await ec2.send(new DeleteTagsCommand({ Resources, Tags: [{ Key: 'Name' }, { Key: tags.hostKey }] }));
    t.same(await bind().list(signal), [machine], 'nobody takes it for another one');
    const [lack = ''] = await bind().shared!.lacks(signal);
    t.match(lack, /^node1 lacks its tags .*Name/);
    for (const name of [tags.settingsHash, tags.node, tags.hostKey]) t.ok(lack.includes(name), name);
    await bind().shared!.ensure(signal);
    t.same(await borne(), before);
    t.match(lines.at(-1), /^mended node1, which lacked its tags /);
    t.same(await bind().shared!.lacks(signal), []);

    await ec2.send(new DeleteTagsCommand({ Resources, Tags: [{ Key: tags.cluster }] }));
    t.same(await bind().list(signal), [machine], 'not out of sight, either');
    await t.rejects(bind().destroy('node1', signal), {
      needsHelp: true,
      message: /node1 \(i-\w+\) does not bear the tag .*cluster any more: put it on again, or end node1/,
    });
    await bind().create(node(0), signal);
    t.same(strict.living(), [machine!.incarnation], 'and never made twice');
    t.same(await borne(), before);
  });

  t.test('a machine that nothing here knows of any more is never made twice', async (t) => {
    await strict.reset({ seed: 17 });
    const dir = join(t.testdir(), 'state');
    await bindIn(dir).create(node(0), signal);
    const [machine] = await bindIn(dir).list(signal);
    const Resources = [machine!.incarnation];
    const forget = (...names: readonly string[]) =>
      ec2.send(new DeleteTagsCommand({ Resources, Tags: names.map((Key) => ({ Key })) }));
    await forget(tags.cluster, tags.node, 'Name');
    await rm(join(dir, 'machines.json'));
    t.same(await bindIn(dir).list(signal), [], 'nothing says that it is ours');
    await bindIn(dir).create(node(0), signal);
    t.same(await bindIn(dir).list(signal), [machine], 'but the order that it came from');
    await forget(tags.hostKey);
    await rm(join(dir, 'machines.json'));
    t.match(await bindIn(dir).shared!.lacks(signal), [/^node1 lacks its tags .*host-key/]);
    await t.rejects(bindIn(dir).shared!.ensure(signal), {
      needsHelp: true,
      message: /node1 \(i-\w+\) has lost its tags .*host-key, and nothing here knows what they were/,
    });
    t.same(strict.living(), [machine!.incarnation]);
  });

  t.test('the disk of a machine bears tags, too, from its first moment', async (t) => {
    await strict.reset({ seed: 18 });
    await bindIn(join(t.testdir(), 'state')).create(node(0), signal);
    const { Volumes = [] } = await ec2.send(new DescribeVolumesCommand({ Filters: ours }));
    t.match(Volumes, [{ Tags: [{ Value: 'sf-six-nodes-node1' }, { Value: cluster }, { Value: 'node1' }] }]);
  });

  t.test('a machine that somebody stopped is started, and is the same', async (t) => {
    await strict.reset({ seed: 9, slowLooks: 2 });
    const dir = join(t.testdir(), 'state');
    await bindIn(dir).create(node(0), signal);
    const [before] = await bindIn(dir).list(signal);
    strict.power(before!.incarnation, 'stopped');
    t.match(await bindIn(dir).list(signal), [{ ...before, power: 'off' }]);
    await bindIn(dir).create(node(0), signal);
    t.same(await bindIn(dir).list(signal), [before]);
  });

  t.test('the plug is pulled, and put in again by a switch that belongs to nobody', async (t) => {
    await strict.reset({ seed: 10, slowLooks: 1 });
    const dir = join(t.testdir(), 'state');
    await bindIn(dir).create(node(0), signal);
    const { power, ...provisioner } = { power: bindIn(dir).power!, list: () => bindIn(dir).list(signal) };
    const [before] = await provisioner.list();
    await power.off('node1', signal);
    t.match(await provisioner.list(), [{ ...before, power: 'off' }]);
    await power.on('node1', signal);
    t.same(await provisioner.list(), [before]);
    const isOff = async () => (await provisioner.list())[0]!.power === 'off';
    await power.offUntil('node1', Date.now() + 600_000, signal);
    await eventually('off', 20_000, async () => (await isOff()) || undefined);
    await bindIn(dir).power!.on('node1', signal); // another process than the one that asked
    t.same(await provisioner.list(), [before], 'called back');
    await power.offUntil('node1', Date.now() - 1, signal);
    await power.on('node1', signal);
    t.same(await provisioner.list(), [before], 'its time had passed');
    const spot = bindIn(dir, { machines: { node1: { spot: true } } });
    await t.rejects(spot.power!.off('node1', signal), {
      needsHelp: true,
      message: /neither stops nor starts/,
    });
    await spot.power!.on('node1', signal);
    t.same(await provisioner.list(), [before], 'and so it is never off');
  });

  const zones = { 'eu-central-1a': '10.20.1.0/24', 'eu-central-1b': '10.20.2.0/24' };
  const inB = { zone: 'eu-central-1b' };
  const twoZones = { zones, machines: { node2: inB, node3: inB } };
  /** The ACL of the subnet of the second zone, and what associates them. */
  const aclOfB = async () => {
    const { Subnets = [] } = await ec2.send(
      new DescribeSubnetsCommand({ Filters: [{ Name: 'cidr-block', Values: ['10.20.2.0/24'] }] }),
    );
    const { SubnetId = '', VpcId = '' } = Subnets[0]!;
    const { NetworkAcls = [] } = await ec2.send(
      new DescribeNetworkAclsCommand({ Filters: [{ Name: 'vpc-id', Values: [VpcId] }] }),
    );
    const idOf = ({ NetworkAclId = '' } = {}) => NetworkAclId;
    const blackhole = NetworkAcls.find(({ Tags = [] }) => Tags.some(({ Value }) => Value === 'blackhole'));
    const now = NetworkAcls.flatMap(({ Associations = [] }) => Associations).find(
      (each) => each.SubnetId === SubnetId,
    )!;
    return {
      ...{ SubnetId, VpcId, blackhole: idOf(blackhole), association: now.NetworkAclAssociationId! },
      isCut: now.NetworkAclId === blackhole?.NetworkAclId,
      isDefault: now.NetworkAclId === idOf(NetworkAcls.find(({ IsDefault }) => IsDefault)),
      acl: now.NetworkAclId!,
    };
  };
  const replaceAcl = async (NetworkAclId: string) =>
    ec2.send(
      new ReplaceNetworkAclAssociationCommand({ AssociationId: (await aclOfB()).association, NetworkAclId }),
    );

  t.test('a zone is cut off, and joined again by a switch that belongs to nobody', async (t) => {
    await strict.reset({ seed: 19 });
    const dir = join(t.testdir(), 'state');
    const bind = () => bindIn(dir, twoZones);
    const first = bind();
    await Promise.all([0, 1, 2].map((index) => first.create(node(index), signal)));
    t.match(await present(), { ...shared, subnet: 2, acl: 1, machine: 3 });
    t.match(await aclOfB(), { isCut: false, isDefault: true });
    const { zone } = first;
    const from = strict.calls.length;
    await Promise.all(['node2', 'node3'].map((name) => zone!.offUntil(name, Date.now() + 600_000, signal)));
    await eventually('cut off', 20_000, async () => (await aclOfB()).isCut || undefined);
    t.same(await bind().shared!.lacks(signal), [], 'what a fault does is no drift');
    t.same(
      (await bind().list(signal)).map(({ power }) => power),
      ['on', 'on', 'on'],
    );
    await bind().zone!.on('node3', signal); // another process than the one that asked
    t.match(await aclOfB(), { isCut: false, isDefault: true });
    await bind().zone!.on('node2', signal);
    await bind().zone!.on('node1', signal);
    const replaced = calls(from).filter((call) => call === 'ec2 ReplaceNetworkAclAssociation');
    t.equal(replaced.length, 2, 'one switch for the zone');

    const untilMs = Date.now() + 4_000;
    await bind().zone!.offUntil('node2', untilMs, signal);
    await eventually('cut off', 20_000, async () => (await aclOfB()).isCut || undefined);
    await eventually('joined again', 20_000, async () => (await aclOfB()).isDefault || undefined);
    t.ok(Date.now() >= untilMs, 'by itself');

    const { VpcId, SubnetId, blackhole } = await aclOfB();
    const { NetworkAcl: own } = await ec2.send(new CreateNetworkAclCommand({ VpcId }));
    await replaceAcl(own!.NetworkAclId!);
    await bind().zone!.off('node2', signal);
    await bind().zone!.off('node3', signal);
    t.match(await aclOfB(), { isCut: true });
    await bind().zone!.on('node2', signal);
    t.match(await aclOfB(), { acl: own!.NetworkAclId! }, 'the one that was there before');

    await replaceAcl(blackhole);
    const entry = { NetworkAclId: blackhole, RuleNumber: 7, Protocol: '-1', CidrBlock: '0.0.0.0/0' };
    await ec2.send(new CreateNetworkAclEntryCommand({ ...entry, RuleAction: 'allow', Egress: true }));
    const later = bindIn(dir, twoZones);
    await clock.sleep(120_000, signal);
    t.same(await later.shared!.lacks(signal), [
      'blackhole lets rule 7 through',
      `blackhole cuts off ${SubnetId} with no fault in force`,
    ]);
    await later.shared!.ensure(signal);
    t.match(await aclOfB(), { isCut: false });
    t.same(await bind().shared!.lacks(signal), []);

    await t.rejects(bindIn(dir, { ...twoZones, machines: {} }).zone!.off('node9', signal), {
      message: /there is no machine node9/,
    });
    await bind().zone!.off('node3', signal);
    await ec2.send(new DeleteNetworkAclCommand({ NetworkAclId: own!.NetworkAclId! }));
    await Promise.all(['node1', 'node2', 'node3'].map((name) => bind().destroy(name, signal)));
    await bind().destroyShared(signal);
    t.same(await present(), nothing, 'also where it is cut off');
  });

  t.test('the only zone is not cut off', async (t) => {
    await strict.reset({ seed: 20 });
    const provisioner = bindIn(join(t.testdir(), 'state'));
    await provisioner.create(node(0), signal);
    await t.rejects(provisioner.zone!.off('node1', signal), {
      needsHelp: true,
      message: /is the network of no zone that could be cut off/,
    });
    const from = strict.calls.length;
    await provisioner.zone!.on('node1', signal);
    t.same(orders(from), [], 'and there is nothing to join again');
  });

  t.test('a spot machine is ended, and on again when another one runs in its place', async (t) => {
    await strict.reset({ seed: 21, slowLooks: 2 });
    const bind = () => bindIn(dir, { machines: { node2: { spot: true } } });
    const dir = join(t.testdir(), 'state');
    const first = bind();
    await Promise.all([0, 1].map((index) => first.create(node(index), signal)));
    const [lasting, lent] = await bind().list(signal);
    t.equal(lent!.spot, true);
    t.notOk(lasting!.spot);
    await bind().spot!.on('node2', signal);
    await bind().spot!.offUntil('node2', clock.now() - 1, signal);
    t.equal(strict.living().length, 2, 'its time had passed');
    await bind().spot!.offUntil('node2', clock.now() + 60_000, signal);
    t.same(await bind().list(signal), [lasting]);
    await t.rejects(bind().spot!.on('node2', signal), { message: /there is no machine node2/ });
    await bind().create(node(1), signal);
    await bind().spot!.on('node2', signal);
    const [, next] = await bind().list(signal);
    t.match(next, { name: 'node2', address: lent!.address, spot: true });
    t.not(next!.incarnation, lent!.incarnation);
    await t.rejects(bind().spot!.off('node1', signal), {
      needsHelp: true,
      message: /node1 is no spot machine/,
    });
    t.equal(strict.living().length, 2);
  });

  t.test('of two that bear our tags nobody chooses one', async (t) => {
    await strict.reset({ seed: 3 });
    const dir = join(t.testdir(), 'state');
    await bindIn(dir).create(node(0), signal);
    const Tags = [
      { Key: tags.cluster, Value: cluster },
      { Key: tags.part, Value: 'vpc' },
      { Key: tags.node, Value: 'node1' },
    ];
    await ec2.send(
      new CreateVpcCommand({ CidrBlock: '10.20.0.0/16', TagSpecifications: [{ ResourceType: 'vpc', Tags }] }),
    );
    await t.rejects(bindIn(dir).create(node(1), signal), {
      needsHelp: true,
      message:
        /vpc could not be made: there is more than one vpc with our tags \(vpc-\w+, vpc-\w+\)|there is more than one vpc/,
    });
    await ec2.send(
      new RunInstancesCommand({
        ...{ ImageId: 'ami-1', MinCount: 1, MaxCount: 1 },
        TagSpecifications: [{ ResourceType: 'instance', Tags }],
      }),
    );
    await t.rejects(bindIn(dir).list(signal), { needsHelp: true, message: /more than one machine node1/ });
  });

  t.test(
    'a machine that is lost is another one when it is made again, and its order is never given twice',
    async (t) => {
      await strict.reset({ seed: 4, slowLooks: 3, hiddenLooks: 2 });
      const dir = join(t.testdir(), 'state');
      await bindIn(dir).create(node(0), signal);
      const [first] = await bindIn(dir).list(signal);
      await bindIn(dir).destroy('node1', signal);
      t.same(await bindIn(dir).list(signal), []);
      await bindIn(dir).create(node(0), signal);
      const [second] = await bindIn(dir).list(signal);
      t.equal(second!.address, first!.address);
      t.not(second!.incarnation, first!.incarnation);
      await rm(dir, { recursive: true });
      await t.rejects(bindIn(dir).create(node(0), signal), {
        needsHelp: true,
        message: /node1 lets in another key than the one in the state directory/,
      });
      t.equal((await present()).machine, 1);
    },
  );

  t.test('what was asked for and cannot be had is told, and nothing is half made', async (t) => {
    const refused = async (action: string, code: string) => {
      await strict.reset({ seed: 5 });
      const dir = join(t.testdir(), `${action}-${code}`);
      strict.refusals.set(action, code);
      const told = await bindIn(dir, { bucket: {} })
        .create(node(0), signal)
        .then(
          () => 'made',
          (error: ProvisionError) => `${error.needsHelp ? 'help' : 'later'}: ${error.message}`,
        );
      strict.refusals.clear();
      await bindIn(dir, { bucket: {} }).create(node(0), signal);
      t.match(
        await present(),
        { ...shared, machine: 1, role: 1, profile: 1, bucket: 1 },
        `${action}: then it is finished`,
      );
      await bindIn(dir, { bucket: {} }).destroy('node1', signal);
      await bindIn(dir, { bucket: {} }).destroyShared(signal);
      t.same(await present(), nothing, `${action}: and removed`);
      return told;
    };
    t.match(await refused('CreateVpc', 'VpcLimitExceeded'), /^help: .*vpc could not be made: .*quota/);
    t.match(await refused('CreateSubnet', 'InvalidSubnet.Conflict'), /^help: .*subnet could not be made/);
    t.match(
      await refused('AuthorizeSecurityGroupIngress', 'UnauthorizedOperation'),
      /^help: .*group .*policy\.json/,
    );
    t.match(await refused('CreateRole', 'AccessDenied'), /^help: .*role could not be made/);
    t.match(await refused('RunInstances', 'VcpuLimitExceeded'), /^help: node1 could not be made: .*quota/);
    t.match(await refused('RunInstances', 'InsufficientInstanceCapacity'), /^later: node1 could not be made/);
    t.match(await refused('DescribeVpcs', 'AuthFailure'), /^help: .*credentials/);
  });

  t.test('a bucket that has data is left, unless it is to be purged', async (t) => {
    await strict.reset({ seed: 6 });
    const dir = join(t.testdir(), 'state');
    const lines: string[] = [];
    const bind = (bucket: object) => bindIn(dir, { bucket }, (line) => void lines.push(line));
    const put = async () => {
      const { Buckets = [] } = await s3.send(new ListBucketsCommand({}));
      await s3.send(
        new PutObjectCommand({ Bucket: Buckets[0]!.Name!, Key: 'checkpoint/metadata', Body: 'x' }),
      );
    };
    await bind({}).shared!.ensure(signal);
    await put();
    await bind({}).destroyShared(signal);
    t.same(await present(), { ...nothing, bucket: 1 });
    t.match(lines.at(-1), /is left with its data: purgeData would delete it/);
    await bind({}).shared!.ensure(signal);
    t.match(await present(), { ...shared, bucket: 1 }, 'it is taken up again');
    await bind({ purgeData: true }).destroyShared(signal);
    t.same(await present(), nothing);
  });

  t.test('what is not ours by its tags is left, whatever its name', async (t) => {
    await strict.reset({ seed: 7 });
    await s3.send(
      new CreateBucketCommand({
        Bucket: 'sf-of-somebody',
        CreateBucketConfiguration: { LocationConstraint: region },
      }),
    );
    const bound = bindIn(join(t.testdir(), 'state'), { bucket: { name: 'sf-of-somebody', purgeData: true } });
    await t.rejects(bound.shared!.ensure(signal), {
      needsHelp: true,
      message: /there is a bucket .* not ours/,
    });
    await t.rejects(bound.destroyShared(signal), { needsHelp: true, message: /not ours/ });
    t.equal((await present()).bucket, 1);
    await t.rejects(iam.send(new GetRoleCommand({ RoleName: 'sf-six-nodes-eu-central-1' })), {
      name: /NoSuchEntity/,
    });
  });

  t.test('a key of the same name that somebody else has is not taken for ours', async (t) => {
    await strict.reset({ seed: 11 });
    const name = { KeyName: 'sf-six-nodes', PublicKeyMaterial: Buffer.from(generateKeyPair('x').publicKey) };
    await ec2.send(new ImportKeyPairCommand(name));
    const provisioner = bindIn(join(t.testdir(), 'state'));
    await t.rejects(provisioner.shared!.ensure(signal), {
      needsHelp: true,
      message: /there is a key of that name already, without our tags/,
    });
    await provisioner.destroyShared(signal);
    t.same(await present(), nothing);
    t.equal((await ec2.send(new DescribeKeyPairsCommand({}))).KeyPairs?.length, 1, 'and it is left');
  });

  t.test('an image of ones own is looked up, and one that is not there is told', async (t) => {
    await strict.reset({ seed: 13 });
    const dir = join(t.testdir(), 'state');
    await bindIn(dir, { image: 'ami-0cccccccccccccccc' }).create(node(0), signal);
    const { Reservations: [found] = [] } = await ec2.send(new DescribeInstancesCommand({ Filters: ours }));
    t.equal(found!.Instances![0]!.ImageId, 'ami-0cccccccccccccccc');
    await t.rejects(bindIn(dir, { image: 'ami-0ddddddddddddddddd' }).create(node(1), signal), {
      needsHelp: true,
      message: /there is no ami-0ddddddddddddddddd in this region/,
    });
  });

  t.test('a profile that EC2 has not heard of yet is waited for, without calling for help', async (t) => {
    await strict.reset({ seed: 14 });
    const bound = bindIn(join(t.testdir(), 'state'), { bucket: {} });
    await bound.shared!.ensure(signal);
    strict.hide('sf-six-nodes-eu-central-1', 1);
    await t.rejects(bound.create(node(0), signal), {
      needsHelp: false,
      message: /does not know its instance profile yet/,
    });
    await bound.create(node(0), signal);
    t.equal((await present()).machine, 1);
  });

  t.test('only workers are spot', async (t) => {
    await strict.reset({ seed: 8 });
    const spot = { machines: { node1: { spot: true }, node2: { spot: true } } };
    const provisioner = bindIn(join(t.testdir(), 'state'), spot);
    await t.rejects(provisioner.create(node(0), signal), {
      needsHelp: true,
      message: /only workers may be spot/,
    });
    await provisioner.create(node(1), signal);
    t.equal((await present()).machine, 1);
  });

  /** Makes, loses and mends machines, killed at any call, until all is as wanted; then removes all, killed again. */
  const live = async (seed: number, dir: string): Promise<void> => {
    const random = seededRandom(seed);
    const below = (most: number) => Math.floor(random() * most);
    const trouble: Trouble = {
      ...{ seed, throttled: 0.01, failed: 0.01, replyLost: 0.03 },
      ...{ hiddenLooks: below(4), slowLooks: below(4) },
    };
    await strict.reset(trouble);
    const settings = {
      ...(below(2) === 0 && { bucket: { purgeData: true } }),
      ...(below(2) === 0 && twoZones),
    };
    const specs = Array.from({ length: 1 + below(3) }, (_, index) => node(index));
    let crashesLeft = 3;
    /** Works with a process that may be killed at any call; tries again, in another one, until it has worked. */
    const untilDone = async (work: (provisioner: Provisioner, signal: AbortSignal) => Promise<unknown>) => {
      let last: unknown;
      for (let pass = 0; pass < 60; pass++) {
        const killed = new AbortController();
        const crashAt = crashesLeft > 0 ? strict.calls.length + 1 + below(60) : Infinity;
        strict.crashes = (call) => {
          if (call < crashAt) return false;
          killed.abort(new Error('killed'));
          return true;
        };
        try {
          return await work(bindIn(dir, settings), AbortSignal.any([signal, killed.signal]));
        } catch (error) {
          last = error;
          if (killed.signal.aborted) {
            crashesLeft -= 1;
            await strict.idle();
          } else if (!(error instanceof ProvisionError) || error.needsHelp) throw error;
        } finally {
          strict.crashes = () => false;
        }
        await clock.sleep(10_000, signal);
      }
      throw new Error(`never done: ${last}`);
    };
    const converge = () =>
      untilDone(async (provisioner, each) => {
        await provisioner.shared!.ensure(each);
        const missing = specs.filter(({ name }) => name !== undefined);
        await Promise.all(missing.map((spec) => provisioner.create(spec, each)));
      });
    await converge();
    await untilDone((provisioner, each) => provisioner.destroy(specs.at(-1)!.name, each));
    await converge();
    const isZoned = 'zones' in settings && specs.length > 1;
    if (isZoned) {
      await untilDone((provisioner, each) => provisioner.zone!.off('node2', each));
      if (!(await aclOfB()).isCut) throw new Error('not cut off');
      await untilDone((provisioner, each) => provisioner.zone!.on('node2', each));
      if (!(await aclOfB()).isDefault) throw new Error('not joined again');
      // What is in force when all is removed goes with it.
      if (below(2) === 0) await untilDone((provisioner, each) => provisioner.zone!.off('node2', each));
    }
    const listed = await bindIn(dir, settings).list(signal);
    if (listed.map(({ name }) => name).join() !== specs.map(({ name }) => name).join())
      throw new Error(`listed: ${JSON.stringify(listed)}`);
    const made = await present();
    if (made.machine !== specs.length || made.vpc !== 1 || strict.living().length !== specs.length)
      throw new Error(`made: ${JSON.stringify(made)}, ${strict.living()}`);
    await untilDone(async (provisioner, each) => {
      await Promise.all(specs.map(({ name }) => provisioner.destroy(name, each)));
      await provisioner.destroyShared(each);
    });
    const left = await present();
    if (Object.values(left).some((count) => count > 0)) throw new Error(`left: ${JSON.stringify(left)}`);
  };

  t.test('whatever goes wrong, there is one machine for each node, and in the end nothing', async (t) => {
    const first = Number(process.env.EC2_SEED ?? 1);
    for (let seed = first; seed < first + runs; seed++)
      await live(seed, join(t.testdir(), `run-${seed}`)).catch((error: unknown) => {
        t.fail(`seed ${seed}: ${error instanceof Error ? error.message : error}`);
      });
    t.pass(`${runs} runs`);
  });

  t.test('the policy for the operator allows what it calls, and nothing else', async (t) => {
    const policy = JSON.parse(
      await readFile(join(packageRoot, 'provisioners', 'ec2', 'policy.json'), 'utf8'),
    ) as {
      readonly Statement: readonly { readonly Action: string | readonly string[] }[];
    };
    const allowed = policy.Statement.flatMap(({ Action }) => Action);
    /** Names of S3's permissions are not those of its calls. */
    const ofS3: Readonly<Record<string, readonly string[]>> = {
      'PUT bucket': ['s3:CreateBucket'],
      'DELETE bucket': ['s3:DeleteBucket'],
      'GET bucket?tagging': ['s3:GetBucketTagging'],
      'PUT bucket?tagging': ['s3:PutBucketTagging'],
      'GET bucket?publicAccessBlock': ['s3:GetBucketPublicAccessBlock'],
      'PUT bucket?publicAccessBlock': ['s3:PutBucketPublicAccessBlock'],
      'GET bucket?versions': ['s3:ListBucketVersions'],
      'POST bucket?delete': ['s3:DeleteObject', 's3:DeleteObjectVersion'],
    };
    const called = [...strict.everCalled].flatMap((call) => {
      const [service = '', action = ''] = [
        call.slice(0, call.indexOf(' ')),
        call.slice(call.indexOf(' ') + 1),
      ];
      return service === 's3' ? (ofS3[action] ?? [`s3:${action}`]) : [`${service}:${action}`];
    });
    // A machine with a role: whoever makes it hands that over.
    t.same([...new Set(allowed)].sort(), [...new Set([...called, 'iam:PassRole'])].sort());
  });
}
