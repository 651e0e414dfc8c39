// A controller that is struck: runs one fault over ssh with a journal on the disk, as the operator does, and sends itself
// the signal of a situation at the moment that it names. Its argument is a `StruckOptions` as JSON.
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../controller/clock.ts';
import { openRunJournal } from '../../controller/status/run-journal.ts';
import type { NodeHandle } from '../../provisioners/contract.ts';
import type { FaultRun } from '../../state-machines/contract.ts';
import { runFault } from '../../state-machines/fault-runner.ts';
import { loadScripts } from '../../state-machines/load-scripts.ts';
import { bindLab, type LabAccess } from '../support/fault-lab.ts';
import type { Strike } from './situations.ts';

export interface StruckOptions {
  readonly access: LabAccess;
  readonly stateDir: string;
  readonly scriptsDir: string;
  readonly run: FaultRun;
  readonly strike: Strike;
}

/** Long enough for a script to be under way on its node, short enough for most to be not yet done. */
const duringMs = 25;

const { access, stateDir, scriptsDir, run, strike } = JSON.parse(process.argv[2]!) as StruckOptions;
const signal = new AbortController().signal;
const scripts = await loadScripts(scriptsDir);
const provisioner = bindLab(access, () => {});
const machines = await provisioner.list(signal);
const handles = new Map<string, NodeHandle>();
for (const machine of machines) handles.set(machine.name, struck(await provisioner.connect(machine, signal)));

const ports = {
  ...{ clock: systemClock, scripts, journal: await openRunJournal(stateDir) },
  nodes: async (name: string) => handles.get(name)!,
  power: provisioner.power!,
};
const { outcome, message } = await runFault(run, ports, signal);
process.stdout.write(JSON.stringify({ outcome, message }));
for (const handle of handles.values()) handle.close();

/** The node as it is, but for the strike. */
function struck(node: NodeHandle): NodeHandle {
  const text = scripts.deadMan(strike.script);
  const hit = () => process.kill(process.pid, strike.signal);
  return {
    name: node.name,
    address: node.address,
    async exec(script, args, options, within) {
      const meant = script === text;
      if (meant && strike.when === 'before') hit();
      const answer = node.exec(script, args, options, within);
      if (meant && strike.when === 'during') {
        await sleep(duringMs);
        hit();
      }
      await answer.catch(() => undefined);
      if (meant && strike.when === 'after') hit();
      return answer;
    },
    dial: (target, within) => node.dial(target, within),
    controllerAddress: (within) => node.controllerAddress(within),
    close: () => node.close(),
  };
}
