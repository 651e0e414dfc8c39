import type { IpPermission } from '@aws-sdk/client-ec2';

/** One way in: a protocol, its ports, and from where. */
export interface Rule {
  readonly protocol: string;
  readonly from?: number;
  readonly to?: number;
  /** Exactly one of them: a network, a security group, or a list of prefixes. */
  readonly source: { readonly cidr: string } | { readonly group: string } | { readonly list: string };
}

/** What members of a swarm and faults' witnesses (ping, sshd) need of each other; see Docker's "Use overlay networks". */
const amongMembers = [
  { protocol: 'tcp', from: 22, to: 22 },
  { protocol: 'tcp', from: 2377, to: 2377 },
  { protocol: 'tcp', from: 7946, to: 7946 },
  { protocol: 'udp', from: 7946, to: 7946 },
  { protocol: 'udp', from: 4789, to: 4789 },
  { protocol: 'icmp', from: -1, to: -1 },
] as const;

/** All that may come in: ssh from where the manifest says, and the swarm from the group itself. */
export function wantedRules(sshFrom: readonly string[], group: string): readonly Rule[] {
  const ssh = [...new Set(sshFrom)].map((cidr) => ({ protocol: 'tcp', from: 22, to: 22, source: { cidr } }));
  return [...ssh, ...amongMembers.map((ports) => ({ ...ports, source: { group } }))];
}

/** One rule per source, as they are told apart. */
export function rulesOf(permissions: readonly IpPermission[]): readonly Rule[] {
  return permissions.flatMap(
    ({ IpProtocol = '-1', FromPort, ToPort, IpRanges, Ipv6Ranges, UserIdGroupPairs, PrefixListIds }) => {
      const sources: Rule['source'][] = [
        ...(IpRanges ?? []).map(({ CidrIp }) => ({ cidr: CidrIp! })),
        ...(Ipv6Ranges ?? []).map(({ CidrIpv6 }) => ({ cidr: CidrIpv6! })),
        ...(UserIdGroupPairs ?? []).map(({ GroupId }) => ({ group: GroupId! })),
        ...(PrefixListIds ?? []).map(({ PrefixListId }) => ({ list: PrefixListId! })),
      ];
      const ports = {
        ...(FromPort !== undefined && { from: FromPort }),
        ...(ToPort !== undefined && { to: ToPort }),
      };
      return sources.map((source) => ({ protocol: IpProtocol, ...ports, source }));
    },
  );
}

/** What is not there and should be, and what is there and should not. */
export function compareRules(
  have: readonly Rule[],
  want: readonly Rule[],
): { readonly missing: readonly Rule[]; readonly foreign: readonly Rule[] } {
  const without = (rules: readonly Rule[], others: readonly Rule[]) => {
    const keys = new Set(others.map(ruleKey));
    return rules.filter((rule) => !keys.has(ruleKey(rule)));
  };
  return { missing: without(want, have), foreign: without(have, want) };
}

export function ruleKey({ protocol, from, to, source }: Rule): string {
  return [protocol, from, to, ...Object.entries(source).flat()].join(' ');
}

/** `tcp 22 from 203.0.113.4/32` */
export function describeRule({ protocol, from, to, source }: Rule): string {
  const ports = from === undefined || from < 0 ? '' : ` ${from === to ? from : `${from}-${to}`}`;
  const [whence] = Object.values(source);
  return `${protocol === '-1' ? 'everything' : protocol}${ports} from ${whence}`;
}

export function permissionOf({ protocol, from, to, source }: Rule): IpPermission {
  const what = { IpProtocol: protocol, FromPort: from, ToPort: to };
  if ('group' in source) return { ...what, UserIdGroupPairs: [{ GroupId: source.group }] };
  if ('list' in source) return { ...what, PrefixListIds: [{ PrefixListId: source.list }] };
  const isIpv6 = source.cidr.includes(':');
  return isIpv6
    ? { ...what, Ipv6Ranges: [{ CidrIpv6: source.cidr }] }
    : { ...what, IpRanges: [{ CidrIp: source.cidr }] };
}
