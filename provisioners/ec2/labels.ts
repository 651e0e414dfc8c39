import { createHash } from 'node:crypto';

/**
 * All state is read back from these tags: whatever bears the first one is ours, and nothing else is ended. What they were on
 * machines is kept in the state directory, too.
 */
export const tags = {
  cluster: 'spark-failures.io/cluster',
  /** Of what the machines share: which part it is. */
  part: 'spark-failures.io/part',
  node: 'spark-failures.io/node',
  settingsHash: 'spark-failures.io/settings-hash',
  /** Base64 of the raw public host key that a connection is pinned to. */
  hostKey: 'spark-failures.io/host-key',
  /** The one that takes its place: while both are there, either may be shown. */
  nextHostKey: 'spark-failures.io/next-host-key',
  /** The public key that the machine lets in. */
  clientKey: 'spark-failures.io/client-key',
  /** With the id of a subnet behind it: until when a fault cuts that off, and which ACL it had. */
  cutOff: 'spark-failures.io/cut-off',
} as const;

/** AWS's own; what its console shows. */
export const nameTag = 'Name';

export const nameOf = (cluster: string): string => `sf-${cluster}`;

/** IAM is one for all regions. */
export const roleName = (cluster: string, region: string): string => `sf-${cluster}-${region}`;

/** S3 has one name space for everybody; 63 characters at most. */
export const bucketName = (cluster: string, account: string, region: string): string => {
  const name = `sf-${cluster}-${account}-${region}`;
  if (name.length <= 63) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 12);
  return `sf-${hash}-${account}-${region}`;
};

/**
 * By which AWS knows an order that comes again, 64 characters: the same for a machine of a cluster (its VPC tells one life of
 * the cluster from the next) until the one that was made so is terminated; then `life` is counted up.
 */
export const orderToken = (vpcId: string, node: string, life: number): string =>
  createHash('sha256')
    .update(JSON.stringify([vpcId, node, life]))
    .digest('hex');
