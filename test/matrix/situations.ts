/** Where in a run the controller is struck, by the script that it is about to run on a node, or has just had answered. */
export interface Strike {
  readonly script: 'arm.sh' | 'inject.sh' | 'look.sh' | 'heal.sh' | 'disarm.sh';
  /** `during`: a moment after it was sent, while the node is at it. */
  readonly when: 'before' | 'during' | 'after';
  /** SIGSTOP is followed by SIGCONT once the deadline has passed. */
  readonly signal: 'SIGKILL' | 'SIGSTOP';
}

export interface Situation {
  readonly name: string;
  readonly strike: Strike;
  /** Nobody comes back to heal: the node has to do it alone. */
  readonly abandoned?: true;
  /** An instant kind never comes there. */
  readonly onlyHeld?: true;
}

const at = (name: string, script: Strike['script'], when: Strike['when']): Situation => ({
  name,
  strike: { script, when, signal: 'SIGKILL' },
});

/** Every transition of the fault machine, in its order, and what happens when nobody comes back. */
export const situations: readonly Situation[] = [
  at('before arm', 'arm.sh', 'before'),
  at('during arm', 'arm.sh', 'during'),
  at('after arm', 'arm.sh', 'after'),
  at('before inject', 'inject.sh', 'before'),
  at('during inject', 'inject.sh', 'during'),
  at('after inject and its check', 'inject.sh', 'after'),
  at('before undo', 'heal.sh', 'before'),
  at('during undo', 'heal.sh', 'during'),
  at('after undo', 'heal.sh', 'after'),
  { ...at('before verify', 'look.sh', 'before'), onlyHeld: true },
  { ...at('after verify', 'look.sh', 'after'), onlyHeld: true },
  at('before disarm', 'disarm.sh', 'before'),
  at('after disarm', 'disarm.sh', 'after'),
  { ...at('never back', 'inject.sh', 'after'), abandoned: true },
  {
    name: 'stopped before inject, continued past the deadline',
    strike: { script: 'inject.sh', when: 'before', signal: 'SIGSTOP' },
  },
];
