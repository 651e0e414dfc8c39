import {
  AttachInternetGatewayCommand,
  AuthorizeSecurityGroupIngressCommand,
  CreateInternetGatewayCommand,
  CreateRouteCommand,
  CreateSecurityGroupCommand,
  CreateSubnetCommand,
  CreateVpcCommand,
  DeleteInternetGatewayCommand,
  DeleteKeyPairCommand,
  DeleteSecurityGroupCommand,
  DeleteSubnetCommand,
  DeleteVpcCommand,
  DescribeInternetGatewaysCommand,
  DescribeKeyPairsCommand,
  DescribeRouteTablesCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  DetachInternetGatewayCommand,
  type Filter,
  ImportKeyPairCommand,
  ReplaceRouteCommand,
  RevokeSecurityGroupIngressCommand,
} from '@aws-sdk/client-ec2';
import { ProvisionError } from '../contract.ts';
import type { SubnetConfig } from './config.ts';
import { nameOf, tags } from './labels.ts';
import {
  bareKey,
  type Found,
  gone,
  made,
  one,
  type Part,
  type Scene,
  tagged,
  taggedPart,
  tagging,
  tagValue,
} from './part.ts';
import { compareRules, describeRule, permissionOf, rulesOf, wantedRules } from './security-rules.ts';

export const vpcPart = taggedPart({
  name: 'vpc',
  id: ['vpc-id', 'VpcId'],
  async describe({ aws }, Filters, abortSignal) {
    return (await aws.ec2.send(new DescribeVpcsCommand({ Filters }), { abortSignal })).Vpcs;
  },
  judge({ config }, { VpcId = '', CidrBlock, State, OwnerId }) {
    sameNetwork('VPC', VpcId, CidrBlock, config.vpc);
    return { pending: State === 'pending', ...(OwnerId !== undefined && { account: OwnerId }) };
  },
  make({ aws, config, cluster }, abortSignal) {
    const order = { CidrBlock: config.vpc, TagSpecifications: tagged(cluster, 'vpc', 'vpc') };
    return aws.once.send(new CreateVpcCommand(order), { abortSignal });
  },
  remove: ({ aws }, { id }, abortSignal) =>
    gone(aws.ec2.send(new DeleteVpcCommand({ VpcId: id }), { abortSignal })),
});

export const gatewayPart = taggedPart({
  name: 'gateway',
  id: ['internet-gateway-id', 'InternetGatewayId'],
  async describe({ aws }, Filters, abortSignal) {
    const answer = await aws.ec2.send(new DescribeInternetGatewaysCommand({ Filters }), { abortSignal });
    return answer.InternetGateways;
  },
  judge({ aws, ids }, { InternetGatewayId, Attachments = [] }, abortSignal) {
    const target = { InternetGatewayId, VpcId: ids.get('vpc') };
    const attach = () => made(aws.ec2.send(new AttachInternetGatewayCommand(target), { abortSignal }));
    const isAttached = Attachments.some(({ VpcId }) => VpcId === target.VpcId);
    return { lacks: isAttached ? [] : [{ what: 'is not attached to the VPC', mend: attach }] };
  },
  make({ aws, cluster }, abortSignal) {
    const order = { TagSpecifications: tagged(cluster, 'gateway', 'internet-gateway') };
    return aws.once.send(new CreateInternetGatewayCommand(order), { abortSignal });
  },
  async remove({ aws, ids }, { id }, abortSignal) {
    const VpcId = ids.get('vpc');
    const detach = new DetachInternetGatewayCommand({ InternetGatewayId: id, VpcId });
    if (VpcId !== undefined) await gone(aws.ec2.send(detach, { abortSignal }), /^Gateway\.NotAttached$/);
    return gone(aws.ec2.send(new DeleteInternetGatewayCommand({ InternetGatewayId: id }), { abortSignal }));
  },
});

const everywhere = '0.0.0.0/0';

/** The VPC's own main table: it comes with the VPC, and goes with it. */
export const routesPart: Part = {
  name: 'routes',
  async find(scene, abortSignal) {
    const { aws, ids } = scene;
    const vpcId = ids.get('vpc');
    if (vpcId === undefined) return undefined;
    const Filters = [
      { Name: 'vpc-id', Values: [vpcId] },
      { Name: 'association.main', Values: ['true'] },
    ];
    const { RouteTables = [] } = await aws.ec2.send(new DescribeRouteTablesCommand({ Filters }), {
      abortSignal,
    });
    const found = one('route table', RouteTables, 'RouteTableId');
    if (!found) return undefined;
    const id = found.RouteTableId!;
    const { isTagged, lacks } = tagging(scene, 'routes', id, found.Tags);
    const order = { RouteTableId: id, DestinationCidrBlock: everywhere, GatewayId: ids.get('gateway')! };
    const way = found.Routes?.find(({ DestinationCidrBlock }) => DestinationCidrBlock === everywhere);
    const add = () => made(aws.ec2.send(new CreateRouteCommand(order), { abortSignal }));
    const replace = () => aws.ec2.send(new ReplaceRouteCommand(order), { abortSignal });
    if (!way) return { id, isTagged, lacks: [...lacks, { what: 'has no way out', mend: add }] };
    const leadsOut = way.GatewayId === order.GatewayId && way.State !== 'blackhole';
    return {
      ...{ id, isTagged },
      lacks: leadsOut ? lacks : [...lacks, { what: 'leads out elsewhere', mend: replace }],
    };
  },
  make: () => Promise.resolve(),
  remove: () => Promise.resolve(undefined),
};

/** The subnet of one zone. */
export function subnetPart({ part: name, zone, network }: SubnetConfig): Part {
  return taggedPart({
    ...aSubnet(name),
    judge(_scene, { SubnetId = '', CidrBlock, State }) {
      sameNetwork(name, SubnetId, CidrBlock, network);
      return { pending: State === 'pending' };
    },
    make({ aws, cluster, ids }, abortSignal) {
      const order = {
        ...{ VpcId: ids.get('vpc'), CidrBlock: network },
        ...(zone !== undefined && { AvailabilityZone: zone }),
        TagSpecifications: tagged(cluster, name, 'subnet'),
      };
      return aws.once.send(new CreateSubnetCommand(order), { abortSignal });
    },
  });
}

/** One that an earlier manifest has asked for: machines may live in it, until all goes. */
export function formerSubnetPart(name: string): Part {
  return taggedPart({ ...aSubnet(name), judge: () => ({}), make: () => Promise.resolve() });
}

function aSubnet(name: string) {
  return {
    name,
    id: ['subnet-id', 'SubnetId'] as const,
    async describe({ aws }: Scene, Filters: Filter[], abortSignal: AbortSignal) {
      return (await aws.ec2.send(new DescribeSubnetsCommand({ Filters }), { abortSignal })).Subnets;
    },
    remove: ({ aws }: Scene, { id }: Found, abortSignal: AbortSignal) =>
      gone(aws.ec2.send(new DeleteSubnetCommand({ SubnetId: id }), { abortSignal })),
  };
}

export const groupPart = taggedPart({
  name: 'group',
  id: ['group-id', 'GroupId'],
  async describe({ aws }, Filters, abortSignal) {
    const answer = await aws.ec2.send(new DescribeSecurityGroupsCommand({ Filters }), { abortSignal });
    return answer.SecurityGroups;
  },
  judge({ aws, config }, { GroupId = '', IpPermissions = [] }, abortSignal) {
    const { missing, foreign } = compareRules(rulesOf(IpPermissions), wantedRules(config.sshFrom, GroupId));
    const rules = (some: typeof missing) => ({ GroupId, IpPermissions: some.map(permissionOf) });
    const open = new AuthorizeSecurityGroupIngressCommand(rules(missing));
    const close = new RevokeSecurityGroupIngressCommand(rules(foreign));
    const opened = {
      what: `does not let in ${missing.map(describeRule).join(', ')}`,
      mend: () => made(aws.ec2.send(open, { abortSignal })),
    };
    const closed = {
      what: `lets in ${foreign.map(describeRule).join(', ')}`,
      mend: () => gone(aws.ec2.send(close, { abortSignal })),
    };
    // In this order there is no instant at which the machines do not hear each other.
    return { lacks: [...(missing.length > 0 ? [opened] : []), ...(foreign.length > 0 ? [closed] : [])] };
  },
  make({ aws, cluster, ids }, abortSignal) {
    const order = {
      ...{ GroupName: nameOf(cluster), Description: `swarm of ${cluster}`, VpcId: ids.get('vpc') },
      TagSpecifications: tagged(cluster, 'group', 'security-group'),
    };
    return aws.once.send(new CreateSecurityGroupCommand(order), { abortSignal });
  },
  remove: ({ aws }, { id }, abortSignal) =>
    gone(aws.ec2.send(new DeleteSecurityGroupCommand({ GroupId: id }), { abortSignal })),
});

export const keyPart = taggedPart({
  name: 'key',
  id: ['key-pair-id', 'KeyPairId'],
  async describe({ aws }, Filters, abortSignal) {
    return (await aws.ec2.send(new DescribeKeyPairsCommand({ Filters }), { abortSignal })).KeyPairs;
  },
  judge(scene, { Tags }, abortSignal) {
    const replace = async () => {
      await deleteKey(scene, abortSignal);
      await importKey(scene, abortSignal);
    };
    const isSame = tagValue(Tags, tags.clientKey) === bareKey(scene.clientKey);
    return { lacks: isSame ? [] : [{ what: 'is not the one at hand', mend: replace }] };
  },
  make: importKey,
  remove: (scene, _found, abortSignal) => deleteKey(scene, abortSignal),
});

function deleteKey({ aws, cluster }: Scene, abortSignal: AbortSignal): Promise<undefined> {
  return gone(aws.ec2.send(new DeleteKeyPairCommand({ KeyName: nameOf(cluster) }), { abortSignal }));
}

function importKey({ aws, cluster, clientKey }: Scene, abortSignal: AbortSignal): Promise<unknown> {
  const order = {
    ...{ KeyName: nameOf(cluster), PublicKeyMaterial: Buffer.from(clientKey) },
    TagSpecifications: tagged(cluster, 'key', 'key-pair', { [tags.clientKey]: bareKey(clientKey) }),
  };
  return aws.once.send(new ImportKeyPairCommand(order), { abortSignal });
}

function sameNetwork(what: string, id: string, has: string | undefined, wanted: string): void {
  if (has === wanted) return;
  throw new ProvisionError(
    [
      `the ${what} ${id} is ${has}, the manifest asks for ${wanted}: that takes another cluster, or its deletion`,
    ],
    { needsHelp: true },
  );
}
