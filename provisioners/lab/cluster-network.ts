import { networkInterfaces } from 'node:os';
import type Docker from 'dockerode';
import { ProvisionError } from '../contract.ts';
import { overlap, parseSubnet, subnetOf } from '../shared/addresses.ts';
import { createNetwork, ignoring } from './engine-calls.ts';
import { labels, networkName } from './labels.ts';

/** Makes the cluster's network; one of another subnet is replaced as long as nothing is attached to it. */
export const ensureNetwork = async (
  docker: Docker,
  cluster: string,
  subnet: string,
): Promise<'made' | 'found'> => {
  const name = networkName(cluster);
  const found = await ignoring([404], docker.getNetwork(name).inspect());
  if (found?.IPAM?.Config?.[0]?.Subnet === subnet) return 'found';
  if (found) await docker.getNetwork(name).remove();
  refuseUsedSubnet(subnet);
  await createNetwork(docker, {
    Name: name,
    CheckDuplicate: true,
    Labels: { [labels.cluster]: cluster },
    IPAM: { Driver: 'default', Config: [{ Subnet: subnet }] },
  });
  return 'made';
};

/** Removes the cluster's network, if there is one. */
export const removeNetwork = async (docker: Docker, cluster: string): Promise<void> => {
  await ignoring([404], docker.getNetwork(networkName(cluster)).remove());
};

/** The engine compares with its own networks only; a route of the host would be cut off in silence. */
const refuseUsedSubnet = (subnet: string): void => {
  const wanted = parseSubnet(subnet);
  for (const [device, addresses] of Object.entries(networkInterfaces())) {
    for (const { family, cidr } of addresses ?? []) {
      const used = family === 'IPv4' && cidr ? subnetOf(cidr) : undefined;
      if (!used || !overlap(wanted, used)) continue;
      throw new ProvisionError([
        `subnet ${subnet} overlaps ${cidr} of ${device} on this host: set another one`,
      ]);
    }
  }
};
