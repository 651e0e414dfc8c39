import { z } from 'zod';
import { type Facts, type FaultKind, type FaultStep, RefusedError } from '../../contract.ts';
import { sidesOf } from '../aimed-at-nodes.ts';

const params = z.strictObject({});

/** A server tests its memory for minutes before it boots. */
const awayMs = 300_000;

/** systemd gives each unit 90 s to stop. */
const orderlyMs = 120_000;

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
  plan: (_params, facts) => stepsOn('rebootNode', facts, { args: ['reboot'], effectLimitMs: orderlyMs }),
};

/** The chosen machines lose their power: nothing is ended, flushed or said to anybody. */
export const powerOffNode: FaultKind<z.output<typeof params>> = {
  name: 'powerOffNode',
  ...power,
  summary:
    'Switches the power of the chosen nodes off and on again, by the switch that their provisioner has.',
  death: 'silence',
  instant: false,
  plan: (_params, facts) => stepsOn('powerOffNode', facts, { args: ['off'], power: 'off' }),
};

function stepsOn(
  kind: string,
  facts: Facts,
  { args, ...how }: Pick<FaultStep, 'args' | 'power' | 'effectLimitMs'>,
): readonly FaultStep[] {
  const { chosen, others } = sidesOf(kind, facts);
  const [peer] = others;
  if (!peer) throw new RefusedError(`${kind}: no other node is left that could see it`);
  return chosen.map(({ name, address }) => {
    const witness = { node: peer.name, args: [...args, address], alone: true, afterAnswer: true } as const;
    return { node: name, target: name, mechanism: 'power', args, ...how, awayMs, witness };
  });
}
