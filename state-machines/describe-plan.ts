import { formatDuration } from '../crds/parse-duration.ts';
import type { SwitchName } from '../provisioners/contract.ts';
import type { FaultRun, FaultStep } from './contract.ts';

/** What a run would do, for `controller plan`: every script and argument that would reach a node. */
export function describePlan({ kind, steps, instant, holdMs, graceMs, checkpointHit }: Draft): string {
  const switchMs = holdMs + graceMs;
  const alsoHit = checkpointHit ? [`  hits the job's checkpoint, too: ${checkpointHit.join(', ')}`] : [];
  return steps
    .flatMap(({ node, target, mechanism, args, switch: thrown, witness }) => [
      `${kind} on ${target}`,
      ...alsoHit,
      `  node ${node}: arm a switch that undoes it after ${formatDuration(switchMs)}, whatever becomes of the controller`,
      `  node ${node}: faults/${mechanism}/inject.sh ${args.map(quote).join(' ')}`.trimEnd(),
      ...(thrown ? [`  node ${node}: ${throwing[thrown]}`] : []),
      `  node ${lookers(node, witness)}: faults/${mechanism}/check.sh until it is in effect`,
      instant
        ? '  nothing to hold: the effect stays by itself'
        : `  hold ${formatDuration(holdMs)} from then on`,
      `  node ${node}: faults/${mechanism}/undo.sh, verified by check.sh; switch taken away`,
    ])
    .join('\n');
}

const throwing: { readonly [name in SwitchName]: string } = {
  power: 'power off, by a switch that puts it on again by itself, too',
  zone: 'its zone cut off, by a switch that joins it again by itself, too',
  spot: 'the machine ended for good; the reconciler makes another one',
};

/** Who tells that a fault is in effect. */
function lookers(node: string, witness: FaultStep['witness']): string {
  if (!witness) return node;
  return witness.alone ? witness.node : `${node} and ${witness.node}`;
}

type Draft = Pick<FaultRun, 'kind' | 'steps' | 'instant' | 'holdMs' | 'graceMs' | 'checkpointHit'>;

function quote(arg: string): string {
  return /^[\w./:=-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`;
}
