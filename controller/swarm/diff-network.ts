import { compact, type Difference, diffTrees, type Tree } from './diff-trees.ts';
import type { LiveNetwork, NetworkSpec } from './swarm-types.ts';

/** The engine writes the ids it chose among the options. */
const CHOSEN_BY_ENGINE = 'com.docker.network.driver.overlay.vxlanid_list';

/**
 * Every field in which the live network is not as wanted. A network cannot be changed: any difference means
 * removing and making it anew. Addresses count only when some are wanted.
 */
export function diffNetwork(want: NetworkSpec, have: LiveNetwork): readonly Difference[] {
  const pools = poolsOf(want);
  // Until the swarm has allocated it, a network shows neither driver nor options nor addresses.
  const seen = isAllocated(have) ? have : { ...have, ...pick(want) };
  return diffTrees(normalNetwork(want, pools), normalNetwork(seen, pools));
}

const isAllocated = ({ Driver, Options }: LiveNetwork): boolean =>
  Driver === 'overlay' ? Options?.[CHOSEN_BY_ENGINE] !== undefined : Driver !== '';

const pick = ({ Driver, Options, IPAM }: NetworkSpec) => ({
  Driver,
  ...(Options && { Options }),
  ...(IPAM && { IPAM }),
});

type Pool = NonNullable<NonNullable<NetworkSpec['IPAM']>['Config']>[number];

const poolsOf = ({ IPAM }: NetworkSpec): readonly Pool[] => IPAM?.Config ?? [];

/** @param wanted pools that the manifest asks for: what it does not say of them is the engine's to choose */
function normalNetwork(network: NetworkSpec, wanted: readonly Pool[]): Tree {
  const { [CHOSEN_BY_ENGINE]: _, ...Options } = network.Options ?? {};
  const pools = poolsOf(network);
  return compact({
    Name: network.Name,
    Driver: network.Driver || 'overlay',
    Labels: network.Labels,
    Attachable: network.Attachable,
    Internal: network.Internal,
    EnableIPv6: network.EnableIPv6,
    Options,
    AddressDriver: network.IPAM?.Driver === 'default' ? undefined : network.IPAM?.Driver,
    Subnets: wanted.length > 0 ? pools.map(({ Subnet }) => Subnet).sort() : undefined,
    Pools: Object.fromEntries(pools.map((pool) => [String(pool.Subnet), asFarAsWanted(pool, wanted)])),
  });
}

function asFarAsWanted(pool: Pool, wanted: readonly Pool[]): Tree {
  const said = wanted.find(({ Subnet }) => Subnet === pool.Subnet);
  return Object.fromEntries(
    Object.entries(pool).filter(([key]) => key !== 'Subnet' && said !== undefined && key in said),
  );
}
