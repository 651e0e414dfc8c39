import { join } from 'node:path';
import { endSwitch, throwSwitch } from '../shared/detached-switch.ts';

/** The word by which a switch is found among the processes of this host, before the id of its instance. */
const mark = 'sf-ec2-power-switch';
const program = join(import.meta.dirname, `power-process${import.meta.filename.slice(-3)}`);

/** Stops an instance and starts it again at `untilMs`, by a process that outlives this one and has its environment. */
export const throwPowerSwitch = (region: string, instanceId: string, untilMs: number): Promise<void> =>
  throwSwitch(process.execPath, [program, mark, instanceId, region, String(untilMs)]);

/** Lets the switch of an instance, if there is one, start it as soon as that can be; resolves when it runs. */
export const endPowerSwitch = (instanceId: string, signal: AbortSignal): Promise<void> =>
  endSwitch(mark, instanceId, signal);
