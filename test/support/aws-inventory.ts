import {
  DescribeInstancesCommand,
  DescribeInternetGatewaysCommand,
  DescribeKeyPairsCommand,
  DescribeNetworkAclsCommand,
  DescribeSecurityGroupsCommand,
  DescribeSubnetsCommand,
  DescribeVpcsCommand,
  EC2Client,
  type Filter,
} from '@aws-sdk/client-ec2';
import { IAMClient, ListInstanceProfilesCommand, ListRolesCommand } from '@aws-sdk/client-iam';
import { ListBucketsCommand, S3Client } from '@aws-sdk/client-s3';
import { tags } from '../../provisioners/ec2/labels.ts';
import type { Moto } from './moto.ts';

/** What is really there of a cluster, past the strict proxy. */
export class AwsInventory {
  readonly ec2: EC2Client;
  readonly iam: IAMClient;
  readonly s3: S3Client;
  /** By our tags. */
  readonly ours: Filter[];

  constructor({ host, port }: Moto, region: string, cluster: string) {
    const truth = { region, endpoint: `http://${host}:${port}` };
    this.ec2 = new EC2Client(truth);
    this.iam = new IAMClient(truth);
    this.s3 = new S3Client({ ...truth, forcePathStyle: true });
    this.ours = [{ Name: `tag:${tags.cluster}`, Values: [cluster] }];
  }

  /** How many of each part bear our tags or our name; machines that live. */
  async present(): Promise<Readonly<Record<keyof typeof nothing, number>>> {
    const { ec2, iam, s3 } = this;
    const asked = { Filters: this.ours };
    const [vpcs, subnets, acls, gateways, groups, keys, machines, roles, profiles, buckets] =
      await Promise.all([
        ec2.send(new DescribeVpcsCommand(asked)),
        ec2.send(new DescribeSubnetsCommand(asked)),
        ec2.send(new DescribeNetworkAclsCommand(asked)),
        ec2.send(new DescribeInternetGatewaysCommand(asked)),
        ec2.send(new DescribeSecurityGroupsCommand(asked)),
        ec2.send(new DescribeKeyPairsCommand(asked)),
        ec2.send(new DescribeInstancesCommand(asked)),
        iam.send(new ListRolesCommand({})),
        iam.send(new ListInstanceProfilesCommand({})),
        s3.send(new ListBucketsCommand({})),
      ]);
    const instances = (machines.Reservations ?? []).flatMap(({ Instances = [] }) => Instances);
    return {
      vpc: vpcs.Vpcs!.length,
      subnet: subnets.Subnets!.length,
      acl: acls.NetworkAcls!.length,
      gateway: gateways.InternetGateways!.length,
      group: groups.SecurityGroups!.length,
      key: keys.KeyPairs!.length,
      machine: instances.filter(({ State }) => !['terminated', 'shutting-down'].includes(State!.Name!))
        .length,
      role: roles.Roles!.filter(({ RoleName }) => RoleName!.startsWith('sf-')).length,
      profile: profiles.InstanceProfiles!.filter((each) => each.InstanceProfileName!.startsWith('sf-'))
        .length,
      bucket: buckets.Buckets!.filter(({ Name }) => Name!.startsWith('sf-')).length,
    };
  }
}

export const nothing = {
  vpc: 0,
  subnet: 0,
  acl: 0,
  gateway: 0,
  group: 0,
  key: 0,
  machine: 0,
  role: 0,
  profile: 0,
  bucket: 0,
};
