import type { MachineSpec, Role } from '../../provisioners/contract.ts';
import type { CheckpointUse } from '../stack/checkpoint.ts';
import type { ConditionReason } from '../status/condition-vocabulary.ts';
import type { Difference } from '../swarm/diff-trees.ts';
import type { ConfigSpec, Labels, LiveService, NetworkSpec, ServiceSpec } from '../swarm/swarm-types.ts';

interface StepBase {
  /** `<kind>/<target>`: unique in a plan. */
  readonly id: string;
  /** A machine's name, or an object's name in the swarm. */
  readonly target: string;
  /** Why the world needs this, for people. */
  readonly reason: string;
  /** Ids of steps that must be done first; the step is skipped when one of them is not. */
  readonly after: readonly string[];
}

export type RemovalKind = 'remove-service' | 'remove-network' | 'remove-config' | 'remove-secret';

/** What one step does, as plain data: a plan can be printed, compared and tested, and holds no functions. */
export type StepAction =
  | { readonly kind: 'ensure-shared' }
  | { readonly kind: 'create-machine'; readonly spec: MachineSpec; readonly shape?: string }
  | { readonly kind: 'verify-engine' }
  | { readonly kind: 'init-swarm' }
  | { readonly kind: 'join-swarm'; readonly role: Role; readonly leaveFirst: boolean }
  | { readonly kind: 'label-node'; readonly labels: Labels }
  | { readonly kind: 'set-role'; readonly role: Role }
  | { readonly kind: 'remove-twin'; readonly nodeId: string }
  /** Its machine is destroyed next: a leave that fails holds up nothing. */
  | { readonly kind: 'leave-swarm' }
  | { readonly kind: 'remove-node'; readonly nodeId: string }
  | { readonly kind: 'destroy-machine' }
  | { readonly kind: 'destroy-shared' }
  | { readonly kind: 'deliver-images'; readonly images: readonly string[] }
  | { readonly kind: 'create-network'; readonly spec: NetworkSpec }
  | { readonly kind: 'create-config' | 'create-secret'; readonly spec: ConfigSpec }
  | { readonly kind: 'create-service'; readonly spec: ServiceSpec }
  | {
      readonly kind: 'update-service';
      readonly live: Pick<LiveService, 'ID' | 'Version' | 'Spec'>;
      readonly spec: ServiceSpec;
      readonly differences: readonly Difference[];
    }
  | { readonly kind: RemovalKind; readonly objectId: string }
  | {
      readonly kind: 'try-checkpoint';
      readonly nodeId: string;
      readonly use: CheckpointUse;
      /** What the node is labelled with when it has passed. */
      readonly hash: string;
    }
  | { readonly kind: 'await-tasks-gone'; readonly services: readonly string[] };

export type Step = StepBase & StepAction;
export type StepKind = Step['kind'];

/** Something that no step of ours mends now, with the word for it in conditions. */
export interface Finding {
  readonly target: string;
  readonly reason: ConditionReason;
  readonly message: string;
  /** When to look again, where that is known. */
  readonly againMs?: number;
}

/** A target that a trial holds: reported and left alone, whatever it looks like. */
export interface HeldTarget {
  readonly target: string;
  readonly owner: string;
}

/** What one pass would do, and what it cannot do. */
export interface ClusterPlan {
  readonly steps: readonly Step[];
  readonly held: readonly HeldTarget[];
  /** Under way without us: look again soon. */
  readonly waiting: readonly Finding[];
  /** In the way of Ready until someone or something else mends it. */
  readonly problems: readonly Finding[];
  /** Worth knowing, not in the way. */
  readonly notes: readonly Finding[];
}
