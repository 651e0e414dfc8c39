import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { FaultRun } from '../../state-machines/contract.ts';
import type { Lane } from './lane.ts';
import type { Blow } from './situations.ts';
import type { Controller } from './start-controller.ts';

/** A run that has just been struck. */
export interface Struck {
  readonly lane: Lane;
  readonly run: FaultRun;
  readonly controller: Controller;
}

/** Deals each blow, and resolves when it is over and the controller has ended, with what was not as promised. */
export const blows: Readonly<Record<Blow, (struck: Struck) => Promise<readonly string[]>>> = {
  async killed({ controller }) {
    await controller.ended;
    return [];
  },
  async 'never-back'({ lane, run, controller }) {
    await controller.ended;
    return selfHealed(lane, run);
  },
  async stopped({ lane, run, controller }) {
    const problems = await selfHealed(lane, run);
    controller.signal('SIGCONT');
    return [...problems, ...(await controller.finish())];
  },
  async 'cut-off'({ lane, run, controller }) {
    await iptables('-I', controller.group);
    try {
      if ((await healed(lane, run)).length > 0) return ['healed before it was cut off'];
      const problems = await selfHealed(lane, run);
      if (controller.hasEnded()) return ['the controller was not cut off'];
      await iptables('-D', controller.group);
      return [...problems, ...(await controller.finish())];
    } finally {
      await iptables('-D', controller.group).catch(() => undefined); // gone already
    }
  },
  async 'engine-restarted'({ lane, run, controller }) {
    const { node } = targetOf(lane, run);
    const restart = 'systemctl reset-failed docker.service docker.socket; systemctl restart docker.service';
    await lane.lab.atConsole(node, `${restart} docker.socket`);
    return controller.endHold();
  },
  async 'target-restarted'({ lane, run, controller }) {
    const { kind, node, service } = targetOf(lane, run);
    if (kind === 'node') {
      await lane.lab.powerCycle(node);
    } else if (kind === 'service') {
      await lane.lab.on(node, 'docker service update --quiet --detach --force "$1" >/dev/null', service);
    } else {
      await lane.lab.on(node, killTask, service);
    }
    return controller.endHold();
  },
  async 'leader-killed'({ lane, run, controller }) {
    const leader = await lane.leader();
    const others = lane.lab.names.filter((name) => name !== leader);
    await lane.lab.powerOff(leader);
    try {
      const led = `docker node ls --format '{{.ManagerStatus}}' | grep -q Leader`;
      const manager = others.find((name) => lane.managers.includes(name))!;
      await lane.lab.until('another leader', 60_000, async () => {
        return (await lane.lab.node(manager).exec(led, [], {}, lane.lab.signal)).code === 0;
      });
      // What is armed there, and nowhere else, waits until it is back.
      if (!run.steps.some(({ node }) => node === leader)) return await controller.endHold();
    } finally {
      await lane.lab.powerOn(leader);
    }
    return controller.endHold();
  },
  async 'node-rebooted'({ lane, run, controller }) {
    for (const node of new Set(run.steps.map(({ node }) => node))) await lane.lab.powerCycle(node);
    return controller.endHold();
  },
};

/** Kills the tasks of a service here, and waits for others; a frozen one may be in no hurry to die. */
const killTask = `
tasks() { docker ps --quiet --filter "label=com.docker.swarm.service.name=$1"; }
old=$(tasks "$1")
timeout 10 docker kill $old >/dev/null
for _ in $(seq 100); do
  new=$(tasks "$1")
  if [ -n "$new" ] && [ "$new" != "$old" ]; then break; fi
  sleep 0.1
done`;

/** The first target of a run, and the node on which it is, or can be changed. */
function targetOf({ lab }: Lane, { steps }: FaultRun) {
  const { node, target } = steps[0]!;
  const [machine = '', service = ''] = target.split('/');
  if (service) return { kind: 'task', node: machine, service } as const;
  if (lab.names.includes(machine)) return { kind: 'node', node: machine, service } as const;
  return { kind: 'service', node, service: target } as const;
}

/** Promised beyond the deadline. */
const lateMs = 5_000;

/** Waits until the nodes have healed the run by themselves; resolves with those that are too late. */
async function selfHealed(lane: Lane, run: FaultRun): Promise<readonly string[]> {
  const deadlineMs = Date.now() + run.holdMs + run.graceMs + lateMs;
  for (;;) {
    const done = await healed(lane, run);
    const late = run.steps.filter(({ target }) => !done.includes(target));
    if (late.length === 0) return [];
    if (Date.now() > deadlineMs) return late.map(({ node, target }) => `${node} did not heal ${target}`);
    await sleep(200);
  }
}

/** The targets that are marked as healed on their nodes; a node that is off, or boots, marks nothing. */
async function healed({ lab }: Lane, { runId, steps }: FaultRun): Promise<readonly string[]> {
  const marked = steps.map(async ({ node, target }, index) => {
    const mark = `/var/lib/spark-failures/runs/${runId}.${index}/healed`;
    const isMarked = await lab.atConsole(node, '[ -e "$1" ]', mark).then(
      () => true,
      () => false,
    );
    return isMarked ? [target] : [];
  });
  return (await Promise.all(marked)).flat();
}

const execute = promisify(execFile);

/** Adds or removes the rule by which nothing that a process of this group sends leaves the machine. */
export async function iptables(change: '-I' | '-D', group: number): Promise<void> {
  const rule = ['OUTPUT', '-m', 'owner', '--gid-owner', String(group), '-j', 'DROP'];
  await execute('iptables', ['-w', change, ...rule]);
}
