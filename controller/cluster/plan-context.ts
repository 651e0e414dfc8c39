import type { Inventory } from '../../crds/status.ts';
import type { DesiredCluster } from './desired-cluster.ts';
import type { ObservedCluster } from './observed-cluster.ts';
import type { DiffLive } from './remembering-diff.ts';

/** All that a plan is made from. */
export interface PlanContext {
  readonly desired: DesiredCluster;
  readonly observed: ObservedCluster;
  /** The trial that holds a node or service, as a whole or by one of its tasks, if any. */
  readonly heldBy: (target: string) => string | undefined;
  /** What the status says that we made; undefined when nothing was ever recorded: then labels alone decide. */
  readonly inventory: Inventory | undefined;
  /** How services are compared; a remembering one gives the same answers sooner. */
  readonly diff?: DiffLive;
  /** The worker that is replaced in this pass, if any. */
  readonly replaced?: string | undefined;
}
