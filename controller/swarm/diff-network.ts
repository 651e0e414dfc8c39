import { compact, type Difference, diffTrees, type Tree } from './diff-trees.ts';
import type { LiveNetwork, NetworkSpec } from './swarm-types.ts';

/** The engine writes the ids it chose among the options. */
const CHOSEN_BY_ENGINE = 'com.docker.network.driver.overlay.vxlanid_list';

/**
 * Every field in which the live network is not as wanted. A network cannot be changed: any difference means
 * removing and making it anew. Addresses count only when some are wanted.
 */
export function diffNetwork(want: NetworkSpec, have: LiveNetwork): readonly Difference[] {
  const addressed = (want.IPAM?.Config ?? []).length > 0;
  // Until the swarm has allocated it, a network shows neither driver nor options nor addresses.
  const seen = isAllocated(have) ? have : { ...have, ...pick(want) };
  return diffTrees(normalNetwork(want, addressed), normalNetwork(seen, addressed));
}

const isAllocated = ({ Driver, Options }: LiveNetwork): boolean =>
  Driver === 'overlay' ? Options?.[CHOSEN_BY_ENGINE] !== undefined : Driver !== '';

const pick = ({ Driver, Options, IPAM }: NetworkSpec) => ({
  Driver,
  ...(Options && { Options }),
  ...(IPAM && { IPAM }),
});

function normalNetwork(network: NetworkSpec, addressed: boolean): Tree {
  const { [CHOSEN_BY_ENGINE]: _, ...Options } = network.Options ?? {};
  return compact({
    Name: network.Name,
    Driver: network.Driver || 'overlay',
    Labels: network.Labels,
    Attachable: network.Attachable,
    Internal: network.Internal,
    Options,
    Subnets: addressed ? (network.IPAM?.Config ?? []).map((pool) => pool.Subnet).sort() : undefined,
  });
}
