import { z } from 'zod';
import { type FaultKind, type FaultStep, type NodeFacts, RefusedError } from '../../contract.ts';
import { sidesOf } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

/** A server tests its memory for minutes before it boots. */
const awayMs = 300_000;

/** systemd gives each unit 90 s to stop. */
const orderlyMs = 120_000;

/** An instance is ordered, booted and given its engine. */
const madeAnewMs = 900_000;

/** Until a provisioner's order is felt. */
const switchMs = 60_000;

const power = {
  level: 'state',
  mechanism: 'power',
  params,
  needs: ['systemd', 'docker-unit'],
  targets: ['nodes'],
} as const;

/** The chosen machines end all they do in good order and begin anew. */
export const rebootNode: FaultKind<z.output<typeof params>> = {
  name: 'rebootNode',
  ...power,
  summary:
    'Reboots the chosen nodes in good order: their tasks end, and the engine comes back with the machine.',
  death: 'crash',
  instant: true,
  plan(_params, facts) {
    const { chosen, others } = sidesOf('rebootNode', facts);
    return stepsOn('rebootNode', chosen, others, { args: ['reboot'], effectLimitMs: orderlyMs, awayMs });
  },
};

/** The chosen machines lose their power: nothing is ended, flushed or said to anybody. */
export const powerOffNode: FaultKind<z.output<typeof params>> = {
  name: 'powerOffNode',
  ...power,
  summary:
    'Switches the power of the chosen nodes off and on again, by the switch that their provisioner has.',
  death: 'silence',
  instant: false,
  plan(_params, facts) {
    const { chosen, others } = sidesOf('powerOffNode', facts);
    refuseEach(
      chosen,
      ({ spot }) => spot === true,
      'is spot, which has no power switch: interruptNode ends it',
    );
    return stepsOn('powerOffNode', chosen, others, { args: ['off'], switch: 'power', awayMs });
  },
};

/** The chosen machines are taken back by who lends them, as may happen to them at any time. */
export const interruptNode: FaultKind<z.output<typeof params>> = {
  name: 'interruptNode',
  ...power,
  summary:
    'Ends the chosen spot machines for good, as their provider may at any time; they are over it when new ones run in their place.',
  death: 'silence',
  instant: true,
  plan(_params, facts) {
    const { chosen, others } = sidesOf('interruptNode', facts);
    refuseEach(chosen, ({ spot }) => spot !== true, 'is no spot machine: nobody takes it back');
    const how = { args: ['interrupt'], switch: 'spot', effectLimitMs: switchMs, awayMs: madeAnewMs } as const;
    return stepsOn('interruptNode', chosen, others, how);
  },
};

/** A part of the data centre is on its own: its machines run, and hear each other, and nobody outside hears them. */
export const blackholeZone: FaultKind<z.output<typeof params>> = {
  name: 'blackholeZone',
  ...power,
  level: 'network',
  summary:
    'Cuts whole availability zones off, ssh included, by their network ACL; within a zone the nodes still hear each other.',
  death: 'silence',
  instant: false,
  plan(_params, facts) {
    const { chosen, others } = sidesOf('blackholeZone', facts);
    refuseEach(chosen, ({ zone }) => zone === undefined, 'is in no zone that its provisioner could cut off');
    const zones = new Set(chosen.map(({ zone }) => zone));
    const missing = others.filter(({ zone }) => zones.has(zone));
    const far = others.filter(({ zone }) => !zones.has(zone));
    if (far.length === 0)
      throw new RefusedError(
        'blackholeZone: all nodes are in these zones, so no other one is left that could see it',
      );
    refuseEach(
      missing,
      () => true,
      ({ zone }) => `is in ${zone}, too, which is cut off as a whole: choose it`,
    );
    return stepsOn('blackholeZone', chosen, far, { args: ['cut'], switch: 'zone', effectLimitMs: switchMs });
  },
};

function refuseEach(
  nodes: readonly NodeFacts[],
  isWrong: (node: NodeFacts) => boolean,
  why: string | ((node: NodeFacts) => string),
): void {
  const wrong = nodes.filter(isWrong);
  if (wrong.length === 0) return;
  throw new RefusedError(wrong.map((node) => `${node.name} ${typeof why === 'string' ? why : why(node)}`));
}

function stepsOn(
  kind: string,
  chosen: readonly NodeFacts[],
  [peer]: readonly NodeFacts[],
  { args, ...how }: Pick<FaultStep, 'args' | 'switch' | 'effectLimitMs' | 'awayMs'>,
): readonly FaultStep[] {
  if (!peer) throw new RefusedError(`${kind}: no other node is left that could see it`);
  return chosen.map(({ name, address }) => {
    const witness = { node: peer.name, args: [...args, address], alone: true, afterAnswer: true } as const;
    return { node: name, target: name, mechanism: 'power', args, ...how, witness };
  });
}
