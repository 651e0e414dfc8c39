import { join } from 'node:path';
import { endSwitch, isThrown, throwSwitch } from '../shared/detached-switch.ts';

/** What a switch takes away, and what that is called by. */
export type Ec2Switch =
  | { readonly kind: 'power'; readonly instanceId: string }
  | { readonly kind: 'zone'; readonly subnetId: string; readonly vpcId: string };

const program = join(import.meta.dirname, `switch-process${import.meta.filename.slice(-3)}`);

/** The word by which a switch is found among the processes of this host, before the id of what it is for. */
const markOf = ({ kind }: Ec2Switch): string => `sf-ec2-${kind}-switch`;
const idOf = (its: Ec2Switch): string => (its.kind === 'power' ? its.instanceId : its.subnetId);

/**
 * Takes it away and gives it back at `untilMs`, by a process that outlives this one and has its environment. One that is
 * thrown already is left to do so: who asks again means the same machine, or another one of its zone.
 */
export const throwEc2Switch = async (region: string, its: Ec2Switch, untilMs: number): Promise<void> => {
  const [mark, id] = [markOf(its), idOf(its)];
  if (its.kind === 'zone' && (await isThrown(mark, id))) return;
  await throwSwitch(process.execPath, [program, mark, id, region, String(untilMs), JSON.stringify(its)]);
};

/** Lets the switch, if one was thrown, give it back as soon as that can be; resolves when it has. */
export const endEc2Switch = (its: Ec2Switch, signal: AbortSignal): Promise<void> =>
  endSwitch(markOf(its), idOf(its), signal);
