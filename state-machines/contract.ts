import type { z } from 'zod';
import type { NodeHandle, Role, SwitchName } from '../provisioners/contract.ts';
import type { ControlPlane } from './recovery/control-planes.ts';
import type { Sample } from './recovery/sample.ts';

type FaultLevel = 'state' | 'network' | 'resource';

/** What a node must offer before a fault kind may touch it: a branch of dead-man/offers.sh or of its mechanism's own. */
export type Need = string;

/** What a fault may be aimed at: tasks of services, whole machines, or services as a whole. */
export type Aim = 'tasks' | 'nodes' | 'services';

/** A running task of a service on a node, as the swarm and the engine know it. */
export interface TaskTarget {
  readonly kind: 'task';
  readonly node: string;
  readonly service: string;
  readonly taskId: string;
  readonly containerId: string;
  /** Which of its service's tasks it is, whatever container it lives in: who restarts has the same. */
  readonly slot?: string;
  /** On the networks of the swarm that it is attached to, with their prefix length: `10.99.1.5/24`. */
  readonly addresses?: readonly string[];
}

/** A whole machine. */
interface NodeTarget {
  readonly kind: 'node';
  readonly node: string;
}

/** A service of the swarm with all of its tasks, wherever they run. */
interface ServiceTarget {
  readonly kind: 'service';
  readonly service: string;
  /** A service made anew under the same name is another one. */
  readonly serviceId: string;
  /** False for a global service or a job: it has no number of replicas that could be changed. */
  readonly replicated: boolean;
}

export type Target = TaskTarget | NodeTarget | ServiceTarget;

/** The word for a target in locks, claims, metrics and messages: `node4`, `node4/streaming_kafka`, `streaming_kafka`. */
export function targetName(target: Target): string {
  switch (target.kind) {
    case 'task':
      return `${target.node}/${target.service}`;
    case 'node':
      return target.node;
    case 'service':
      return target.service;
    default:
      return target satisfies never;
  }
}

/** A node as the managers of the swarm list it. */
export interface SwarmMember {
  readonly id: string;
  readonly role: Role;
  /** A manager that the others reach: what changes the swarm can be run there. */
  readonly controls: boolean;
}

export interface NodeFacts {
  readonly name: string;
  /** The address that its peers use. */
  readonly address: string;
  /** From where this node sees the controller: its ssh path stays open in every network fault. */
  readonly controllerAddress: string;
  /** As the swarm knows them; none when the node has not joined. */
  readonly labels: Readonly<Record<string, string>>;
  /** Absent when the swarm does not list it. */
  readonly swarm?: SwarmMember;
  /** That part of a data centre which fails as a whole; absent where its provisioner tells of none. */
  readonly zone?: string;
  /** Whoever lends the machine may take it back at any time. */
  readonly spot?: true;
}

/** A service of the swarm and what of it runs now. */
export interface ServiceFacts {
  readonly name: string;
  readonly id: string;
  readonly replicated: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Virtual ones, which stand for all of its tasks, with their prefix length; none where lookups name the tasks. */
  readonly addresses?: readonly string[];
  /** Where it also answers: `tcp/9092` of all nodes, or only of those that run a task of it. */
  readonly published?: readonly { readonly port: string; readonly everywhere: boolean }[];
  /** Running ones only. */
  readonly tasks: readonly Omit<TaskTarget, 'kind' | 'service'>[];
}

/** Where the job keeps its state: in a folder that every node sees, in a service, or in a bucket. */
export type CheckpointKind = 'path' | 'hdfs' | 's3a';

/** Everything observed that a plan may depend on; plain data. */
export interface Facts {
  readonly targets: readonly Target[];
  /** All services of the swarm, targets included. */
  readonly services: readonly ServiceFacts[];
  /** All nodes of the cluster, targets included, by name. */
  readonly nodes: readonly NodeFacts[];
  /** Absent when the manifest does not say. */
  readonly checkpoint?: CheckpointKind;
}

/** Where a mechanism's `inject.sh`, `undo.sh`, `check.sh` lie, below state-machines/faults. */
export type Mechanism = string;

/**
 * One target's part of a fault: the three scripts of `mechanism` run on `node` with the same `args`.
 * inject.sh makes the fault and saves what it replaced in $SF_RUN_DIR, or refuses, with the reason on stderr, before it
 * changes anything (common.sh's `refuse`); undo.sh puts it back (nothing saved: no-op);
 * check.sh prints one word: `active`, `inactive` or `unknown`, judged where the victim would feel it; a second word is
 * the uptime (as in /proc/uptime) at which it looked, when that is not the end of the script.
 * No argument contains a line break. $SF_RUN_DIR names the run: its last part is unique, and empty on a witness. Its
 * file `hold` has the milliseconds that the effect is to last, for a victim that nobody can tell when they are over.
 */
export interface FaultStep {
  readonly node: string;
  /** Names what is hurt, for locks, claims, metrics, as `targetName` does; not always `node`. */
  readonly target: string;
  readonly mechanism: Mechanism;
  readonly args: readonly string[];
  /** Full ids of all containers that it acts on, if it does on containers: when they are gone, it is over. */
  readonly containers?: readonly string[];
  /** The slots of the tasks that these are: who comes in their place has one of them. */
  readonly slots?: readonly string[];
  /**
   * The provisioner's switch of that name is thrown once inject.sh is done, on all nodes of the run, and back before undo.sh;
   * refused where there is none.
   */
  readonly switch?: SwitchName;
  /** How long it may take, once injected, until its effect shows; 20 s when nothing is said. */
  readonly effectLimitMs?: number;
  /** How long its node may be away by itself: a heal is tried about so much longer before it is stuck. */
  readonly awayMs?: number;
  /** Where `check.sh` runs too, from a peer's point of view. */
  readonly witness?: Witness;
}

interface Witness {
  readonly node: string;
  readonly args: readonly string[];
  /** Nobody reaches `node` while the fault lasts: its effect is for the witness alone to see; `node` tells that it is gone. */
  readonly alone?: true;
  /** inject.sh answers before anything happens, as it orders what begins a moment later: until then nobody can see it. */
  readonly afterAnswer?: true;
}

/** One way to break something, as data. `plan` is pure: parameters and facts in, steps out. */
export interface FaultKind<P = unknown> {
  readonly name: string;
  readonly level: FaultLevel;
  readonly mechanism: Mechanism;
  /** One sentence for the README's table. */
  readonly summary: string;
  readonly params: z.ZodType<P>;
  readonly needs: readonly Need[];
  /**
   * What others see of it, which decides how long recovery is watched: a `crash` is noticed in seconds, `silence` only by
   * timers, and `slowness`, in which everybody still answers, by nobody once it is over (60 s, 240 s, 60 s).
   */
  readonly death: 'crash' | 'silence' | 'slowness';
  /** The control plane that carries it out: what that one shows is the order, and not that it has noticed anything. */
  readonly through?: ControlPlane;
  /** What it may be aimed at; never both tasks and services, which a manifest names in the same way. */
  readonly targets: readonly Aim[];
  /** True when the effect stays by itself (a dead process): there is nothing to hold or undo. */
  readonly instant: boolean;
  plan(params: P, facts: Facts): readonly FaultStep[];
}

/** Answer of a check: a check that cannot decide never counts as healed. */
export type Verdict3 = 'active' | 'inactive' | 'unknown';

export interface Clock {
  /** Epoch ms. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The states in which a run can be found in the journal; `injecting` or later must be healed at start. */
export type RunPhase = 'prepared' | 'injecting' | 'holding' | 'healing' | 'healed' | 'stuck';

/** What is to be done, complete before anything is touched. */
export type FaultRun = Omit<RunRecord, 'schemaVersion' | 'phase' | 'atMs' | 'outcome' | 'message'>;

/** Write-ahead record of one fault run; enough to heal it without the manifest, the plan, or this process. */
export interface RunRecord {
  readonly schemaVersion: 1;
  /** `<schedule>-<generation>-<fault>-<trial>-<random>`, and `.<n>` when it is one of several: file-name safe. */
  readonly runId: string;
  readonly cluster: string;
  readonly schedule: string;
  readonly fault: string;
  readonly kind: string;
  /** As its kind says: the effect stays by itself, so only the undo's own success can be verified. */
  readonly instant: boolean;
  /** Asked of each step's node as it is armed: one that lacks any refuses. */
  readonly needs: readonly Need[];
  readonly steps: readonly FaultStep[];
  readonly holdMs: number;
  readonly graceMs: number;
  /** The faults that begin with it: their run ids are this and a number. */
  readonly together?: string;
  /** A target that restarts is hurt anew. */
  readonly follow?: true;
  /** Services that run on its target nodes and keep the job's checkpoint: the job loses that, too. */
  readonly checkpointHit?: readonly string[];
  readonly phase: RunPhase;
  readonly atMs: number;
  /** Set when the run is closed. */
  readonly outcome?: Outcome;
  readonly message?: string;
}

/** How a run ended: only a check makes it `Healed`; `Aborted` is healed too, but before its time. */
export type Outcome = 'Healed' | 'Aborted' | 'Refused' | 'Stuck' | 'Unknown';

/** The instants of one run, epoch ms of the controller's clock; absent when not reached. */
export interface RunInstants {
  readonly cmdMs?: number;
  /** Of the last target. */
  readonly effMs?: number;
  /** Of the first target: what lies between is the skew. */
  readonly firstEffMs?: number;
  /** Between the last look that saw nothing and the first that saw the effect: resolution of effMs. */
  readonly effResolutionMs?: number;
  readonly endMs?: number;
  /** Between the order to undo and the look that saw nothing any more: resolution of endMs. */
  readonly endResolutionMs?: number;
}

export interface RunResult {
  readonly runId: string;
  readonly outcome: Outcome;
  readonly instants: RunInstants;
  readonly message?: string;
}

/** Append-only; `write` resolves when the record is on the disk. A run that is closed stays closed. */
export interface RunJournal {
  write(record: RunRecord): Promise<void>;
  /** The newest record of each run that is not closed. */
  unfinished(): Promise<readonly RunRecord[]>;
}

/** What a trial holds, the reconciler reports and leaves alone, until the trial ends. */
export interface Claims {
  /**
   * Throws RefusedError, and holds nothing, when another owner holds one of them, or what one is a part of. Those `made anew`
   * are kept from other owners alone: the reconciler makes another one in its place.
   */
  hold(owner: string, targets: readonly string[], madeAnew?: readonly string[]): void;
  release(owner: string): void;
  /** The owner that keeps the reconciler from this node or service, as a whole or by one of its tasks, if any. */
  heldBy(target: string): string | undefined;
}

/** Offset of a node's clock to the controller's, and the bound of its error; ms. */
export interface ClockBound {
  readonly node: string;
  readonly offsetMs: number;
  readonly boundMs: number;
}

/** What a trial needs of the job under load. */
export interface Workload {
  /** Rows from now on, oldest first; ends only by the signal. Reconnects by itself. */
  samples(signal: AbortSignal): AsyncIterable<Sample>;
  /** How the clock of the observer's node stands to ours. */
  clockBound(signal: AbortSignal): Promise<ClockBound>;
}

/** Gives the connection to a node by name; rejects when the cluster has no such node. */
export type Nodes = (name: string) => Promise<NodeHandle>;

/** A run was refused before anything was broken: by a plan, or by a node. Only another plan, or time, changes that. */
export class RefusedError extends Error {
  readonly code = 'FAULT_REFUSED';
  /** All that were found at once; the message joins them. */
  readonly reasons: readonly string[];
  constructor(reasons: string | readonly string[], options?: ErrorOptions) {
    const all = typeof reasons === 'string' ? [reasons] : reasons;
    super(all.join('; '), options);
    this.name = 'RefusedError';
    this.reasons = all;
  }
}
