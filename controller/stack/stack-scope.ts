import type { Labels } from '../swarm/swarm-types.ts';

/** How names of a compose file become names of the swarm. */
export interface StackScope {
  /** On every object that the stack makes. */
  readonly labels: Labels;
  /** `<stack>_<name>`. */
  name(short: string): string;
  /** The name of a network or volume: its own when it says one, or is external. */
  target(
    short: string,
    declared: { readonly name?: string; readonly external?: boolean } | undefined,
  ): string;
  /** The name of a config or secret, its content's hash included. */
  fileName(kind: 'configs' | 'secrets', short: string): string;
}
