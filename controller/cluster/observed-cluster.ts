import type { Machine } from '../../provisioners/contract.ts';
import type {
  EngineInfo,
  LiveConfig,
  LiveNetwork,
  LiveNode,
  LiveSecret,
  LiveService,
} from '../swarm/swarm-types.ts';

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

/** Everything that a plan is made from, read anew in each pass; plain data. */
export interface ObservedCluster {
  readonly machines: readonly ObservedMachine[];
  /** Absent when no manager of ours answers for a swarm. */
  readonly swarm?: ObservedSwarm;
  /** Why no manager answered, when one should have. */
  readonly swarmError?: string;
}
