import { isIPv4 } from 'node:net';
import { z } from 'zod';
import { quantityField } from '../../crds/quantity.ts';
import { OVERLAY_POOL } from '../contract.ts';
import { type Block, isNetwork, overlap, parseSubnet, readAddress, readSubnet } from '../shared/addresses.ts';
import { engineField } from '../shared/engine-packages.ts';

const networkField = () =>
  z
    .string()
    .regex(/^(\d{1,3}\.){3}\d{1,3}\/\d{1,2}$/, 'must be an IPv4 network such as 10.20.0.0/16')
    .refine(
      (cidr) => isOfAws(readSubnet(cidr)),
      'must be an IPv4 network of /16 to /28 whose host bits are zero',
    )
    .refine(
      (cidr) => !touches(cidr, OVERLAY_POOL),
      `must be clear of ${OVERLAY_POOL}, from which the swarm takes its overlay networks`,
    );

const isOfAws = (block: Block | undefined): boolean => block !== undefined && sizeOf(block) <= 2 ** 16;
const sizeOf = ({ first, last }: Block): number => last - first + 1;
/** The first four addresses and the last are AWS's own; see "Subnet CIDR blocks" of its VPC guide. */
const isHostOf = (block: Block, address: string): boolean => {
  const { first } = readAddress(address);
  return first > block.first + 3 && first < block.last;
};
const touches = (cidr: string, other: string): boolean => {
  const block = readSubnet(cidr);
  return block !== undefined && overlap(block, parseSubnet(other));
};

const instanceTypeField = () => z.string().regex(/^[a-z0-9-]+\.[a-z0-9-]+$/, 'must be such as m6i.large');

const zoneField = () => z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d[a-z]$/, 'must be such as eu-central-1a');

const machineSchema = z.strictObject({
  zone: zoneField().exactOptional().describe('one of `zones`; by default the first of them'),
  instanceType: instanceTypeField().exactOptional().describe('where it is another one than that of all'),
  address: z
    .string()
    .refine(isIPv4, 'must be an IPv4 address')
    .exactOptional()
    .describe('its private address; by default that of the subnet + 11 + its place in the manifest'),
  spot: z
    .boolean()
    .default(false)
    .describe('from spare capacity, which AWS may take back; of a worker only, and without a power switch'),
});

const defaultSubnet = '10.20.0.0/24';

/** Instances in a network of their own, made with the credentials that the AWS SDK finds by itself. */
export const ec2ConfigSchema = z
  .strictObject({
    region: z
      .string()
      .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be such as eu-central-1')
      .describe('region of AWS, such as eu-central-1'),
    zone: zoneField().exactOptional().describe('availability zone of the subnet; by default AWS chooses'),
    vpc: networkField().default('10.20.0.0/16').describe('IPv4 network of the VPC that is made'),
    subnet: networkField()
      .exactOptional()
      .describe(`IPv4 network of the machines, within that of the VPC; by default ${defaultSubnet}`),
    zones: z
      .record(zoneField(), networkField())
      .refine((zones) => Object.keys(zones).length > 0, 'must name a zone')
      .exactOptional()
      .describe(
        'instead of zone and subnet, for machines in several availability zones: the network of each, within that of the VPC',
      ),
    sshFrom: z
      .array(
        z
          .string()
          .regex(/^(\d{1,3}\.){3}\d{1,3}\/\d{1,2}$/, 'must be such as 203.0.113.4/32')
          .refine(isNetwork, 'must be an IPv4 network whose host bits are zero'),
      )
      .min(1)
      .describe('networks from which ssh may come; nothing else is open to anybody outside'),
    instanceType: instanceTypeField().default('m6i.large').describe('of every machine that names no other'),
    image: z
      .string()
      .regex(/^ami-[0-9a-f]+$/, 'must be such as ami-0123456789abcdef0')
      .exactOptional()
      .describe("by default the newest Debian 13 of Debian's own account"),
    user: z.string().min(1).default('admin').describe('login of the image; needs sudo without a password'),
    disk: quantityField().default('30Gi').describe('root volume of each machine'),
    machines: z
      .record(z.string(), machineSchema)
      .default({})
      .describe('what is particular to one, by its name'),
    bucket: z
      .strictObject({
        name: z
          .string()
          .regex(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/, 'must be a bucket name of S3, without dots')
          .exactOptional()
          .describe('by default made of the cluster, the account and the region'),
        purgeData: z
          .boolean()
          .default(false)
          .describe('delete the bucket with what is in it; otherwise one that has data is left'),
      })
      .exactOptional()
      .describe('a private S3 bucket for the checkpoint, and the role by which the machines may use it'),
    engine: engineField(),
  })
  .superRefine((config, context) => {
    const { vpc, region, zone, subnet, zones, machines } = config;
    const complain = (message: string, ...path: string[]) =>
      context.addIssue({ code: 'custom', path, message });
    const outer = readSubnet(vpc);
    const parts = subnetsOf(config);
    if (parts.length === 0) return; // said already
    if (zones && (zone !== undefined || subnet !== undefined))
      complain('stands for zone and subnet: give these, or this', 'zones');
    for (const [index, { zone: of, network }] of parts.entries()) {
      const path = zones ? ['zones', of!] : ['subnet'];
      const inner = readSubnet(network);
      if (outer && inner && (inner.first < outer.first || inner.last > outer.last))
        complain(`must lie within the VPC's ${vpc}`, ...path);
      const other = inner && parts.slice(0, index).find((each) => touches(each.network, network));
      if (other) complain(`overlaps that of ${other.zone}`, ...path);
      if (of !== undefined && of.slice(0, -1) !== region)
        complain(`is no zone of ${region}`, ...(zones ? path : ['zone']));
    }
    for (const [name, { address, zone: of }] of Object.entries(machines)) {
      const own = subnetFor(config, name);
      if (of !== undefined && own.zone !== of) complain('is none of the zones', 'machines', name, 'zone');
      const inner = readSubnet(own.network);
      if (address === undefined || !inner || isHostOf(inner, address)) continue;
      const message = `must lie within the subnet's ${own.network}, clear of the first four and the last, which AWS keeps`;
      complain(message, 'machines', name, 'address');
    }
  });

export type Ec2Config = z.infer<typeof ec2ConfigSchema>;

/** One network of machines, which is in one zone. */
export interface SubnetConfig {
  /** Of what machines share: the same whether its zone is one of one or of several. */
  readonly part: string;
  /** Absent where AWS chooses. */
  readonly zone?: string;
  readonly network: string;
}

/** The subnets that a manifest asks for; the first is that of machines that name none. */
export function subnetsOf({
  zone,
  subnet = defaultSubnet,
  zones,
}: Pick<Ec2Config, 'zone' | 'subnet' | 'zones'>): readonly SubnetConfig[] {
  if (!zones && zone === undefined) return [{ part: 'subnet', network: subnet }];
  return Object.entries(zones ?? { [zone!]: subnet }).map(([name, network]) => ({
    ...{ part: `subnet-${name}`, zone: name, network },
  }));
}

/** The subnet of a machine. */
export function subnetFor(config: Ec2Config, machine: string): SubnetConfig {
  const subnets = subnetsOf(config);
  const zone = config.machines[machine]?.zone;
  return subnets.find((each) => each.zone === zone) ?? subnets[0]!;
}
