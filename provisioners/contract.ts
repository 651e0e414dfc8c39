import type { Duplex } from 'node:stream';

/** The outcome of a script that ran to its end on a node: a non-zero exit is a value, never an exception. */
export interface ExecResult {
  /** Exit status; null when a signal ended the script. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The node could not be asked, or the connection was lost before an answer: what happened there is unknown. */
export class ExecError extends Error {
  readonly code = 'EXEC_FAILED';
  readonly node: string;
  constructor(node: string, message: string, options?: ErrorOptions) {
    super(`${node}: ${message}`, options);
    this.name = 'ExecError';
    this.node = node;
  }
}

/** A machine could not be made, found or removed. `problems` lists all that were found at once. */
export class ProvisionError extends Error {
  readonly code = 'PROVISION_FAILED';
  readonly problems: readonly string[];
  /** What somebody must mend: trying again by itself is of no use. */
  readonly needsHelp: boolean;
  constructor(problems: readonly string[], options: ErrorOptions & { readonly needsHelp?: boolean } = {}) {
    super(problems.join('; '), options);
    this.name = 'ProvisionError';
    this.problems = problems;
    this.needsHelp = options.needsHelp ?? false;
  }
}

/** What a caught value says for itself. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export interface ExecOptions {
  /** Fed to the script's standard input, then closed. */
  readonly stdin?: string | Uint8Array;
  /** `heal` uses the channel that is kept free for healing when all others are busy. */
  readonly lane?: 'heal';
}

/** Where `dial` connects to, as seen from the node itself. */
export type DialTarget = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** One machine, reached the same way whoever made it: over ssh, as an ordinary user with sudo. */
export interface NodeHandle {
  readonly name: string;
  /** The address that the other nodes of the cluster use for it. */
  readonly address: string;
  /**
   * Runs a constant POSIX sh script as root with positional arguments ($1, $2, ...).
   * Never paste values into the script. Rejects with ExecError only when the node could not be asked, and with the
   * signal's reason when aborted: that ends the waiting, not the script, so every script must end by itself.
   */
  exec(
    script: string,
    args: readonly string[],
    options: ExecOptions,
    signal: AbortSignal,
  ): Promise<ExecResult>;
  /** Opens a byte stream to a unix socket or a TCP port on the node. */
  dial(target: DialTarget, signal: AbortSignal): Promise<Duplex>;
  /** The address from which the node sees the controller (the ssh connection's client side). */
  controllerAddress(signal: AbortSignal): Promise<string>;
  close(): void;
}

export type Role = 'manager' | 'worker';

/** What a manifest says about one machine, as every provisioner gets it. */
export interface MachineSpec {
  readonly name: string;
  readonly role: Role;
  /** Position in the manifest, from 0: the lab derives the fixed address from it. */
  readonly index: number;
}

/** What exists, read back from labels or tags, never from memory. */
export interface Machine {
  readonly name: string;
  readonly power: 'on' | 'off';
  /** The address that peers use; stable over power cycles. */
  readonly address: string;
  /** Changes when the machine was made anew under the same name. */
  readonly incarnation: string;
  /** That part of a data centre which fails as a whole; absent where nobody knows. */
  readonly zone?: string;
  /** Whoever lends it may take it back at any time. */
  readonly spot?: true;
  /** Hash of the settings it was made with: another hash in the manifest means replacement. */
  readonly settingsHash: string;
  /** Fingerprint of its host key, where that was taken at first contact and nobody has pinned it. */
  readonly trustedKey?: string;
}

/** The provisioner of one cluster, bound to its config. Every call is idempotent by node name. */
export interface Provisioner extends Switches {
  readonly name: string;
  /** Hash of the machine settings that the manifest asks for (compare with `Machine.settingsHash`). */
  settingsHash(spec: MachineSpec): string;
  /** What is paid for by the hour, as people call it: `m6i.large, spot`. */
  shape?(spec: MachineSpec): string;
  list(signal: AbortSignal): Promise<readonly Machine[]>;
  /** Makes the machine (or powers on the one that exists); resolves when its sshd answers and its engine runs. */
  create(spec: MachineSpec, signal: AbortSignal): Promise<void>;
  /** Removes the machine and everything that was made for it. */
  destroy(name: string, signal: AbortSignal): Promise<void>;
  /** Removes what the cluster's machines shared (network, keys); called when the last one is gone. */
  destroyShared(signal: AbortSignal): Promise<void>;
  /** Connects to a machine that is on; the caller closes the handle. Host key pinned. */
  connect(machine: Machine, signal: AbortSignal): Promise<NodeHandle>;
  /**
   * Where machines outlive the cluster: lets one know which images are about to be brought to its engine, so that they go
   * with it again, and what their names stood for comes back.
   */
  readonly noteImages?: (
    node: NodeHandle,
    references: readonly string[],
    signal: AbortSignal,
  ) => Promise<void>;
  /** Where more than the machines is kept as it should be. */
  readonly shared?: SharedInfrastructure;
}

/** What is kept beside the lives of a cluster's machines: networks, rules, keys that they share, marks that they bear. */
export interface SharedInfrastructure {
  /** In words, what is not there or not as it should be; empty when nothing is to be done. */
  lacks(signal: AbortSignal): Promise<readonly string[]>;
  /** Makes and mends it. `create` does so, too. */
  ensure(signal: AbortSignal): Promise<void>;
}

/** What a provisioner can take from a machine, whoever asks for it; each where it has such machines. */
export interface Switches {
  /** Its power: the plug is pulled. */
  readonly power?: NodeSwitch;
  /** The way between its zone, with all that is in it, and everybody outside; within the zone they still hear each other. */
  readonly zone?: NodeSwitch;
  /** The machine itself, where it is spot: that is ended for good, and on again when another one runs under its name. */
  readonly spot?: NodeSwitch;
}

export type SwitchName = keyof Switches;

/** What happens to one machine happens in the order of the calls, whichever were aborted. */
export interface NodeSwitch {
  /** Takes it away. */
  off(name: string, signal: AbortSignal): Promise<void>;
  /** Gives it back; also what `offUntil` would only do later. */
  on(name: string, signal: AbortSignal): Promise<void>;
  /**
   * Takes it away, and gives it back at `untilMs` (epoch), whatever becomes of this process: by the strongest means
   * that the provisioner has. When that instant has passed, nothing happens.
   */
  offUntil(name: string, untilMs: number, signal: AbortSignal): Promise<void>;
}

/** Where every swarm takes its overlay networks from, /24 each: no machine may have an address in it. */
export const OVERLAY_POOL = '10.99.0.0/16';

/** What a provisioner gets from the process that binds it to a cluster. */
export interface ProvisionerContext {
  readonly cluster: string;
  /** A folder of the state directory that belongs to this cluster's provisioner (keys live here, mode 0700). */
  readonly stateDir: string;
  /** Downloads, seeds: may be deleted at any time at the price of time. */
  readonly cacheDir: string;
  /** The image of a machine, and the workload images to have in its store at birth, by name. */
  readonly images: { readonly node: string; readonly seed: readonly string[] };
  /** One line for people per change made in the world. */
  readonly progress: (line: string) => void;
}
