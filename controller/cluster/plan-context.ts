import type { Inventory, Rollouts } from '../../crds/status.ts';
import type { Machine, Role } from '../../provisioners/contract.ts';
import type { CheckpointStore } from '../stack/checkpoint.ts';
import type { DesiredStack } from '../stack/convert-stack.ts';
import type { SourcedImage } from '../stack/deliver-images.ts';
import type { DiffLive } from '../swarm/diff-service.ts';
import type { Difference } from '../swarm/diff-trees.ts';
import type {
  EngineInfo,
  Labels,
  LiveConfig,
  LiveNetwork,
  LiveNode,
  LiveSecret,
  LiveService,
  ServiceSpec,
} from '../swarm/swarm-types.ts';
import type { Finding } from './cluster-plan.ts';

/** All that a plan is made from. */
export interface PlanContext {
  readonly desired: DesiredCluster;
  readonly observed: ObservedCluster;
  /** The trial that holds a node or service, as a whole or by one of its tasks, if any. */
  readonly heldBy: (target: string) => string | undefined;
  /** The trial that has this node made anew, if any: that is done, and nothing else that would disturb it. */
  readonly madeAnewFor?: (target: string) => string | undefined;
  /** What the status says that we made; undefined when nothing was ever recorded: then labels alone decide. */
  readonly inventory: Inventory | undefined;
  /** What was found by those who look after more than the manifest speaks of; in the way of Ready. */
  readonly found?: readonly Finding[];
  /** How services are compared; a remembering one gives the same answers sooner. */
  readonly diff?: DiffLive;
  /** Rollouts that are not known to have gone well, by service. */
  readonly rollouts?: Rollouts;
  /** Whether writing these fields was tried, and they were found as before. */
  readonly notKept?: (spec: ServiceSpec, differences: readonly Difference[]) => boolean;
  /** The worker that is replaced in this pass, if any. */
  readonly replaced?: string | undefined;
}

/** One machine of the manifest, with the hash of the settings it should have been made with. */
export interface DesiredNode {
  readonly name: string;
  readonly role: Role;
  readonly labels: Labels;
  readonly settingsHash: string;
  /** What is paid for by the hour, as its provisioner calls it; absent where nothing is. */
  readonly shape?: string;
}

/** A stack whose compose file could not be used: nothing of it is changed, and nothing at all is pruned. */
export interface BrokenStack {
  readonly name: string;
  readonly problems: readonly string[];
}

/** What a ClusterSpec asks for, with its compose files read: the input of a plan that comes from people. */
export interface DesiredCluster {
  readonly name: string;
  readonly nodes: readonly DesiredNode[];
  readonly stacks: readonly DesiredStack[];
  readonly brokenStacks: readonly BrokenStack[];
  /** Absent when no network is between the job and its checkpoint. */
  readonly checkpoint?: CheckpointStore;
  /** Images to be brought to the nodes whose services use them. */
  readonly images: readonly SourcedImage[];
  readonly prune: boolean;
  /** The annotation that lets a prune remove more than half of the services. */
  readonly allowLargePrune: boolean;
  /** Workers that were made with other settings are replaced, one at a time; so is what the swarm cannot change in place. */
  readonly mayReplace: boolean;
}

/** What a machine's engine said about itself when it was last asked. */
export interface EngineFacts {
  readonly info: EngineInfo;
  /** Ids of those deliverable images that its store holds, by reference. */
  readonly images: Readonly<Record<string, string>>;
}

/** How far a look at a machine got. */
export type MachineState =
  | { readonly state: 'off' }
  /** A connection is being made; nothing is known yet. */
  | { readonly state: 'connecting' }
  | { readonly state: 'unreachable'; readonly message: string }
  /** ssh answers, the engine does not. */
  | { readonly state: 'engine-down'; readonly message: string }
  | ({ readonly state: 'up' } & EngineFacts);

/** One machine that exists, and what it says. */
export interface ObservedMachine {
  readonly machine: Machine;
  readonly look: MachineState;
}

/** The swarm as one of its managers lists it. */
export interface ObservedSwarm {
  /** The machine that answered. */
  readonly manager: string;
  readonly nodes: readonly LiveNode[];
  readonly networks: readonly LiveNetwork[];
  readonly configs: readonly LiveConfig[];
  readonly secrets: readonly LiveSecret[];
  readonly services: readonly LiveService[];
}

/** The tasks of a service that is being rolled out, as far as they are of its spec as it is now. */
export interface TaskLook {
  /** Those that run, on nodes that are not down. */
  readonly running: number;
  /** For how long these same tasks have run. */
  readonly steadyMs: number;
  /** What the newest task that does not run says of it. */
  readonly error?: string;
}

/** Everything that a plan is made from, read anew in each pass; plain data. */
export interface ObservedCluster {
  readonly machines: readonly ObservedMachine[];
  /** Absent when no manager of ours answers for a swarm. */
  readonly swarm?: ObservedSwarm;
  /** By the id of the service; only of those of which counts do not tell enough. */
  readonly tasks?: ReadonlyMap<string, TaskLook>;
  /** Why no manager answered, when one should have. */
  readonly swarmError?: string;
  /** In words, what of that which machines share is not as it should be; absent when nothing is to be done. */
  readonly sharedLacks?: readonly string[];
}

/** The machine of that name, if it exists. */
export function machineOf({ machines }: ObservedCluster, name: string): ObservedMachine | undefined {
  return machines.find(({ machine }) => machine.name === name);
}
