import { setTimeout as sleep } from 'node:timers/promises';
import { DescribeInstancesCommand, StartInstancesCommand, StopInstancesCommand } from '@aws-sdk/client-ec2';
import { connectAws } from './aws.ts';
import { powerOffOrder } from './instances.ts';
import type { Ec2Switch } from './switches.ts';
import { cutOff, joinAgain } from './zone-acls.ts';

// The program of a switch: takes away what $5 says in the region $3, and gives it back at $4, ms since the epoch, or on SIGTERM. It
// tries until that is done, or nothing is left to be given back. ($1 and $2 are for those who look for it.)

interface Work {
  take(): Promise<unknown>;
  /** One step towards what was; true when nothing more is to be done. */
  giveBack(): Promise<boolean>;
}

const lookAgainMs = 2_000;
const pollMs = 200;

const [, , , , region = '', until = '', its = ''] = process.argv;
const untilMs = Number(until);
const { ec2 } = connectAws(region);
const never = new AbortController().signal;
let isAsked = false;
process.on('SIGTERM', () => {
  isAsked = true;
});

const work = workOf(JSON.parse(its) as Ec2Switch);
if (Date.now() < untilMs) {
  await work.take().catch(() => undefined);
  while (Date.now() < untilMs && !isAsked) await sleep(pollMs);
  while (!(await work.giveBack().catch(() => false))) await sleep(lookAgainMs);
}

function workOf(its: Ec2Switch): Work {
  switch (its.kind) {
    case 'power':
      return powerOf([its.instanceId]);
    case 'zone':
      return {
        take: () => cutOff(ec2, its, untilMs, never),
        async giveBack() {
          await joinAgain(ec2, its, never);
          return true;
        },
      };
    default:
      return its satisfies never;
  }
}

function powerOf(InstanceIds: [string]): Work {
  return {
    take: () => ec2.send(new StopInstancesCommand(powerOffOrder(InstanceIds[0]))),
    async giveBack() {
      const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ InstanceIds }));
      const state = Reservations[0]?.Instances?.[0]?.State?.Name ?? 'terminated';
      if (state === 'stopped') await ec2.send(new StartInstancesCommand({ InstanceIds }));
      return state === 'running' || state === 'terminated' || state === 'shutting-down';
    },
  };
}
