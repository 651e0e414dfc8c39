/** All state of the lab is read back from these labels of its containers and its network. */
export const labels = {
  cluster: 'spark-failures.io/cluster',
  node: 'spark-failures.io/node',
  address: 'spark-failures.io/address',
  settingsHash: 'spark-failures.io/settings-hash',
  /** Base64 of the raw public host key: what a connection is pinned to. */
  hostKey: 'spark-failures.io/host-key',
  /** The public key that the container's environment authorizes at each boot. */
  clientKey: 'spark-failures.io/client-key',
  /** The seed whose layers the node's store points into: it must outlive the node. */
  layers: 'spark-failures.io/layers',
  /** On the passing container that fills a seed store. */
  seed: 'spark-failures.io/seed',
} as const;

export const containerName = (cluster: string, node: string): string => `sf-${cluster}-${node}`;
export const networkName = (cluster: string): string => `sf-${cluster}`;
