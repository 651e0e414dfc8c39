import {
  CreateNetworkAclCommand,
  CreateTagsCommand,
  DeleteNetworkAclCommand,
  DeleteNetworkAclEntryCommand,
  DescribeNetworkAclsCommand,
  type EC2Client,
  type NetworkAcl,
  ReplaceNetworkAclAssociationCommand,
} from '@aws-sdk/client-ec2';
import { ProvisionError } from '../contract.ts';
import { tags } from './labels.ts';
import { gone, tagged, taggedPart, tagList, tagValue } from './part.ts';

// How a zone is cut off: its subnet gets a network ACL that lets nothing through. That acts at the border of the subnet, so those
// within it still hear each other. Until when it is meant to, and which ACL was there before, is said by a tag of that ACL:
// whoever comes later, knowing nothing, can tell a fault in force from what one has left.

/** The subnet of a zone. */
export interface ZoneNetwork {
  readonly subnetId: string;
  readonly vpcId: string;
}

const partName = 'blackhole';

/** Cuts a subnet off; again: until another instant. */
export async function cutOff(
  ec2: EC2Client,
  { subnetId, vpcId }: ZoneNetwork,
  untilMs: number,
  abortSignal: AbortSignal,
): Promise<void> {
  const acls = await aclsOf(ec2, vpcId, abortSignal);
  const blackhole = acls.find(isBlackhole);
  const now = associationOf(acls, subnetId);
  if (!blackhole || !now)
    throw new ProvisionError([`${subnetId} is the network of no zone that could be cut off`], {
      needsHelp: true,
    });
  const isCut = now.NetworkAclId === blackhole.NetworkAclId;
  const before = isCut ? noteOf(blackhole, subnetId).before : now.NetworkAclId;
  await putNote(ec2, blackhole, subnetId, [untilMs, before].join(' ').trim(), abortSignal);
  if (!isCut) await associate(ec2, now.NetworkAclAssociationId!, blackhole.NetworkAclId!, abortSignal);
}

/** Gives a subnet back the ACL that it had, or where that is gone that of its VPC; what is not cut off is left alone. */
export async function joinAgain(
  ec2: EC2Client,
  { subnetId, vpcId }: ZoneNetwork,
  abortSignal: AbortSignal,
): Promise<void> {
  const acls = await aclsOf(ec2, vpcId, abortSignal);
  const blackhole = acls.find(isBlackhole);
  const now = associationOf(acls, subnetId);
  if (!blackhole || now?.NetworkAclId !== blackhole.NetworkAclId) return;
  const { before } = noteOf(blackhole, subnetId);
  const others = acls.filter((each) => each !== blackhole);
  const to =
    others.find(({ NetworkAclId }) => NetworkAclId === before) ?? others.find(({ IsDefault }) => IsDefault);
  await associate(ec2, now!.NetworkAclAssociationId!, to!.NetworkAclId!, abortSignal);
  // Over, before its time, too: who cuts it off by hand from now on is no fault.
  await putNote(ec2, blackhole, subnetId, '0', abortSignal);
}

/** The ACL that lets nothing through, as a new one does; subnets have it only while a fault is in force. */
export const blackholePart = taggedPart({
  name: partName,
  id: ['network-acl-id', 'NetworkAclId'],
  async describe({ aws }, Filters, abortSignal) {
    return (await aws.ec2.send(new DescribeNetworkAclsCommand({ Filters }), { abortSignal })).NetworkAcls;
  },
  judge({ aws, ids, clock }, found, abortSignal) {
    const { NetworkAclId, Associations = [], Entries = [] } = found;
    const left = Associations.flatMap(({ SubnetId = '' }) => {
      return noteOf(found, SubnetId).untilMs > clock.now() ? [] : [SubnetId];
    });
    const open = Entries.filter(({ RuleAction }) => RuleAction === 'allow');
    const close = open.map(({ RuleNumber, Egress }) => {
      const rule = new DeleteNetworkAclEntryCommand({ NetworkAclId, RuleNumber, Egress });
      return {
        what: `lets rule ${RuleNumber} through`,
        mend: () => gone(aws.ec2.send(rule, { abortSignal })),
      };
    });
    const join = left.map((subnetId) => ({
      what: `cuts off ${subnetId} with no fault in force`,
      mend: () => joinAgain(aws.ec2, { subnetId, vpcId: ids.get('vpc')! }, abortSignal),
    }));
    return { lacks: [...close, ...join] };
  },
  make({ aws, cluster, ids }, abortSignal) {
    const order = {
      VpcId: ids.get('vpc'),
      TagSpecifications: tagged(cluster, partName, 'network-acl'),
    };
    return aws.once.send(new CreateNetworkAclCommand(order), { abortSignal });
  },
  async remove({ aws, ids }, { id }, abortSignal) {
    const vpcId = ids.get('vpc');
    const acls = vpcId === undefined ? [] : await aclsOf(aws.ec2, vpcId, abortSignal);
    const cut = acls.find(({ NetworkAclId }) => NetworkAclId === id)?.Associations ?? [];
    for (const { SubnetId = '' } of cut)
      await joinAgain(aws.ec2, { subnetId: SubnetId, vpcId: vpcId! }, abortSignal);
    return gone(aws.ec2.send(new DeleteNetworkAclCommand({ NetworkAclId: id }), { abortSignal }));
  },
});

async function aclsOf(
  ec2: EC2Client,
  vpcId: string,
  abortSignal: AbortSignal,
): Promise<readonly NetworkAcl[]> {
  const Filters = [{ Name: 'vpc-id', Values: [vpcId] }];
  return (await ec2.send(new DescribeNetworkAclsCommand({ Filters }), { abortSignal })).NetworkAcls ?? [];
}

/** In a VPC that is ours alone. */
function isBlackhole({ Tags }: NetworkAcl): boolean {
  return tagValue(Tags, tags.part) === partName;
}

/** Every subnet has one ACL. */
function associationOf(acls: readonly NetworkAcl[], subnetId: string) {
  return acls.flatMap(({ Associations = [] }) => Associations).find(({ SubnetId }) => SubnetId === subnetId);
}

function associate(
  ec2: EC2Client,
  AssociationId: string,
  NetworkAclId: string,
  abortSignal: AbortSignal,
): Promise<unknown> {
  const order = new ReplaceNetworkAclAssociationCommand({ AssociationId, NetworkAclId });
  return ec2.send(order, { abortSignal });
}

async function putNote(
  ec2: EC2Client,
  { NetworkAclId = '' }: NetworkAcl,
  subnetId: string,
  note: string,
  abortSignal: AbortSignal,
): Promise<void> {
  const Tags = tagList({ [noteName(subnetId)]: note });
  await ec2.send(new CreateTagsCommand({ Resources: [NetworkAclId], Tags }), { abortSignal });
}

const noteName = (subnetId: string): string => `${tags.cutOff}.${subnetId}`;

/** Of a subnet that nobody has noted nobody wants it. */
function noteOf(
  { Tags }: NetworkAcl,
  subnetId: string,
): { readonly untilMs: number; readonly before: string | undefined } {
  const [until = '0', before] = (tagValue(Tags, noteName(subnetId)) ?? '').split(' ');
  return { untilMs: Number(until), before };
}
