import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { ClusterStatus } from '../../crds/status.ts';
import type { Provisioner } from '../../provisioners/contract.ts';
import type { Claims, Clock } from '../../state-machines/contract.ts';
import type { ImageDelivery, ImageSource } from '../stack/deliver-images.ts';
import type { LoadStack } from '../stack/load-stack.ts';
import type { StatusStore } from '../status/status-store.ts';
import type { OpenEngine } from './node-pool.ts';

/** Where changes made in the world are logged. */
interface ClusterLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

/** What the reconciler of clusters needs of the process around it. */
export interface ClusterDeps {
  readonly clock: Clock;
  readonly log: ClusterLog;
  readonly statuses: StatusStore<ClusterStatus>;
  /** The claims of one cluster, by its name. */
  readonly claimsOf: (cluster: string) => Pick<Claims, 'heldBy'>;
  /** Binds the provisioner that a cluster names to its settings; called again when these change. */
  readonly bindProvisioner: (cluster: ClusterSpec) => Provisioner;
  /**
   * Long work before machines can be made (engine, images), or destroyed (engine); quick when there is nothing to do. Not
   * called by `plan`.
   */
  readonly prepare: (cluster: ClusterSpec, deleting: boolean, signal: AbortSignal) => Promise<void>;
  readonly openEngine: OpenEngine;
  readonly loadStack: LoadStack;
  readonly images: ImageDelivery;
  readonly imageSource: ImageSource;
  /** What every compose file sees (image names, CHECKPOINT_DIR); CLUSTER and CONTROLLER_TARGET are added to it. */
  readonly variables: Readonly<Record<string, string>>;
  /** Where this process serves /metrics: nodes reach it there under `NodeHandle.controllerAddress`. */
  readonly controllerPort: number;
  /** Asks the loop for a pass over a key, in `delayMs`. */
  readonly wake: (key: string, delayMs: number) => void;
}
