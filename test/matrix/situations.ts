import type { FaultKind, Outcome } from '../../state-machines/contract.ts';

/** A script that the controller is about to run on a node, is waiting for, or has just had answered. */
interface Call {
  readonly script: 'arm.sh' | 'inject.sh' | 'look.sh' | 'heal.sh' | 'disarm.sh';
  /** `during`: a moment after it was sent, while the node is at it. */
  readonly when: 'before' | 'during' | 'after';
  /** Looks are taken before the hold, too: those that verify a heal come after one. */
  readonly verifies?: true;
}

/** Where in a run it is struck: at a script of dead-man/, or when the effect is seen on all targets and is held. */
export type Strike = Call | 'hold';

/** What befalls it there. */
export type Blow =
  /** The controller: SIGKILL. Another one is started and heals what is unfinished. */
  | 'killed'
  /** The same, and nobody comes back: the node has to heal itself. */
  | 'never-back'
  /** SIGSTOP; and SIGCONT once the node has healed itself. */
  | 'stopped'
  /** What the controller sends is lost until the node has healed itself. */
  | 'cut-off'
  /** The controller lives on and ends the hold when it is over: dockerd where the target is. */
  | 'engine-restarted'
  /** The task dies and the swarm starts another, the service gets new tasks, the machine loses its power for a moment. */
  | 'target-restarted'
  /** The power of the machine that leads the swarm, until the others have another leader and the fault is undone. */
  | 'leader-killed'
  /** The power of the machines that hold the switches, for a moment. */
  | 'node-rebooted';

export interface Situation {
  readonly name: string;
  readonly strike: Strike;
  readonly blow: Blow;
  /** An instant kind never comes there. */
  readonly onlyHeld?: true;
  /** Of these kinds only: it takes long, and says little more of the others. */
  readonly kinds?: readonly string[];
}

/**
 * What a run may be closed as. An order whose answer was lost may have been carried out: `Unknown`, and undone. For a
 * target whose containers are others the fault is over: `Healed`, before anybody ends the hold.
 */
export const closings: Readonly<Record<Blow, readonly Outcome[]>> = {
  killed: ['Aborted', 'Healed', 'Refused'],
  'never-back': ['Aborted'],
  stopped: ['Refused', 'Unknown'],
  'cut-off': ['Healed'],
  'engine-restarted': ['Aborted', 'Healed', 'Unknown'],
  'target-restarted': ['Aborted', 'Healed', 'Unknown'],
  'leader-killed': ['Aborted', 'Unknown'],
  'node-rebooted': ['Aborted', 'Healed', 'Unknown'],
};

const killed = (when: Call['when'], script: Call['script'], words: string): Situation => ({
  name: `killed ${when} ${words}`,
  strike: { script, when },
  blow: 'killed',
});

const verifying = (when: Call['when']): Situation => ({
  name: `killed ${when} verify`,
  strike: { script: 'look.sh', when, verifies: true },
  blow: 'killed',
  onlyHeld: true,
});

const held = (name: string, blow: Blow): Situation => ({ name, strike: 'hold', blow, onlyHeld: true });

/** Two of each level. */
const twoOfEach = ['stopEngine', 'drainNode', 'isolateNode', 'throttle', 'cpuPressure', 'memoryLimit'];

/** Every transition of the fault machine, in its order, and what else may go wrong. */
export const situations: readonly Situation[] = [
  killed('before', 'arm.sh', 'arm'),
  killed('during', 'arm.sh', 'arm'),
  killed('after', 'arm.sh', 'arm'),
  killed('before', 'inject.sh', 'inject'),
  killed('during', 'inject.sh', 'inject'),
  killed('after', 'inject.sh', 'inject and check'),
  { name: 'killed during hold', strike: 'hold', blow: 'killed', onlyHeld: true },
  killed('before', 'heal.sh', 'undo'),
  killed('during', 'heal.sh', 'undo'),
  killed('after', 'heal.sh', 'undo'),
  verifying('before'),
  verifying('after'),
  killed('before', 'disarm.sh', 'disarm'),
  killed('after', 'disarm.sh', 'disarm'),
  { ...killed('after', 'inject.sh', 'inject'), name: 'killed for good', blow: 'never-back' },
  {
    name: 'stopped before inject, continued past the deadline',
    strike: { script: 'inject.sh', when: 'before' },
    blow: 'stopped',
  },
  held('cut off from the node', 'cut-off'),
  held('engine restarted', 'engine-restarted'),
  held('target restarted', 'target-restarted'),
  { ...held('swarm leader killed', 'leader-killed'), kinds: twoOfEach },
  { ...held('node of the switch rebooted', 'node-rebooted'), kinds: twoOfEach },
];

/** While these are held, their target has no engine, or none that could join its swarm when it starts. */
const withoutEngine = ['powerOffNode', 'linkDown'];

/** A lab has no zones, and no machines that are lent: what becomes of these is shown in test/lab/ec2-faults.test.ts. */
const beyondTheLab = ['interruptNode', 'blackholeZone'];

/** Those that a kind can come into; none where the lab cannot do it. */
export function situationsOf({ name, instant }: FaultKind): readonly Situation[] {
  if (beyondTheLab.includes(name)) return [];
  return situations.filter(
    ({ blow, onlyHeld, kinds }) =>
      !(onlyHeld && instant) &&
      !(blow === 'engine-restarted' && withoutEngine.includes(name)) &&
      (kinds?.includes(name) ?? true),
  );
}

/** The one in which most is at stake: for a quick look at every kind. */
export const worst = 'killed after inject and check';
