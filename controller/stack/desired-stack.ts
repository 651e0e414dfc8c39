import type { ConfigSpec, NetworkSpec, SecretSpec, ServiceSpec } from '../swarm/swarm-types.ts';

/** A stack as the swarm should hold it. Plain data: services name their networks, configs and secrets, no ids. */
export interface DesiredStack {
  readonly name: string;
  readonly networks: readonly NetworkSpec[];
  readonly configs: readonly ConfigSpec[];
  readonly secrets: readonly SecretSpec[];
  readonly services: readonly ServiceSpec[];
  /** Objects that must exist already and are never written or removed, by their swarm name. */
  readonly externals: {
    readonly networks: readonly string[];
    readonly configs: readonly string[];
    readonly secrets: readonly string[];
  };
}
