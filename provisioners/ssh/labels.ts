/** What a machine that was adopted keeps for us: read back from the machine itself, whatever becomes of our files. */
export interface Adoption {
  readonly cluster: string;
  readonly node: string;
  /** Drawn at adoption: another one means that the machine was released meanwhile, or installed anew. */
  readonly incarnation: string;
  readonly settingsHash: string;
  /** Packages that came with us, what they depend on included: they go with us, and no others. */
  readonly installed: readonly string[];
  /** The bridge that a swarm makes on each of its machines, and leaves there, came with us. */
  readonly bridgeIsOurs?: boolean;
  /** All of it came, and the engine ran: until then the machine is not ours, though something of us may be on it. */
  readonly complete: boolean;
}

export const adoptionFile = '/var/lib/spark-failures/adoption.json';

/** The label by which containers and volumes of the cluster's stacks are known, with its name. */
export const clusterLabel = 'spark-failures.io/cluster';
