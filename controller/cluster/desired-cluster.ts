import type { Role } from '../../provisioners/contract.ts';
import type { SourcedImage } from '../stack/deliver-images.ts';
import type { DesiredStack } from '../stack/desired-stack.ts';
import type { Labels } from '../swarm/swarm-types.ts';

/** One machine of the manifest, with the hash of the settings it should have been made with. */
export interface DesiredNode {
  readonly name: string;
  readonly role: Role;
  readonly labels: Labels;
  readonly settingsHash: string;
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
  /** Images to be brought to the nodes whose services use them. */
  readonly images: readonly SourcedImage[];
  readonly prune: boolean;
  /** The annotation that lets a prune remove more than half of the services. */
  readonly allowLargePrune: boolean;
  /** The annotation that lets workers made with other settings be replaced, one at a time. */
  readonly replaceNodes: boolean;
}
