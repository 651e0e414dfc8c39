// A controller that is struck: runs one fault over ssh with a journal on the disk, as the operator does. Where its
// situation says so it prints a line, and sends itself the signal, if there is one. SIGTERM ends the hold. Its argument
// is a `StruckOptions` as JSON; its last line is the result of the run.
import { writeSync } from 'node:fs';
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
  readonly signal: 'SIGKILL' | 'SIGSTOP' | undefined;
}

/** Long enough for a script to be under way on its node, short enough for most to be not yet done. */
const duringMs = 25;

const options = JSON.parse(process.argv[2]!) as StruckOptions;
const { strike } = options;
let isHit = false;
let isHealed = false;
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort(new Error('the hold was ended')));
const scripts = await loadScripts(options.scriptsDir);
const provisioner = bindLab(options.access, () => {});
const machines = await provisioner.list(stop.signal);
const handles = new Map<string, Promise<NodeHandle>>();
const connect = async (name: string) => {
  const machine = machines.find((each) => each.name === name);
  if (!machine) throw new Error(`the lab has no ${name}`);
  return struck(await provisioner.connect(machine, new AbortController().signal));
};

const ports = {
  ...{ clock: systemClock, scripts, journal: await openRunJournal(options.stateDir) },
  nodes(name: string) {
    const handle = handles.get(name) ?? connect(name);
    handles.set(name, handle);
    return handle;
  },
  onState(_run: FaultRun, state: string) {
    if (state === strike) hit();
  },
  power: provisioner.power!,
};
const { outcome, message } = await runFault(options.run, ports, stop.signal);
writeSync(1, `${JSON.stringify({ outcome, message })}\n`);
process.exit();

/** Once: a run may pass by there again. */
function hit(): void {
  if (isHit) return;
  isHit = true;
  writeSync(1, 'struck\n');
  if (options.signal) process.kill(process.pid, options.signal);
}
/** The node as it is, but for the strike. */
function struck(node: NodeHandle): NodeHandle {
  if (strike === 'hold') return node;
  const text = scripts.deadMan(strike.script);
  return {
    name: node.name,
    address: node.address,
    async exec(script, args, execOptions, within) {
      if (script === scripts.deadMan('heal.sh')) isHealed = true;
      const meant = script === text && (isHealed || !strike.verifies);
      if (meant && strike.when === 'before') hit();
      const answer = node.exec(script, args, execOptions, within);
      const said = answer.catch(() => undefined);
      if (meant && strike.when === 'during') {
        await sleep(duringMs);
        hit();
      }
      // What was refused is no inject that could be struck: it tells, and ends.
      const isRefused = /^(refused |failed 69$)/m.test((await said)?.stdout ?? '');
      if (meant && strike.when === 'after' && !isRefused) hit();
      return answer;
    },
    dial: (target, within) => node.dial(target, within),
    controllerAddress: (within) => node.controllerAddress(within),
    close: () => node.close(),
  };
}
