import { setTimeout as sleep } from 'node:timers/promises';
import { DescribeInstancesCommand, StartInstancesCommand, StopInstancesCommand } from '@aws-sdk/client-ec2';
import { connectAws } from './aws.ts';
import { powerOffOrder } from './instances.ts';

// The program of a switch: stops the instance $2 of the region $3, and starts it at $4, ms since the epoch, or on SIGTERM. It
// tries until the instance runs, or is no more.

const lookAgainMs = 2_000;
const pollMs = 200;

const [, , , instanceId = '', region = '', until = ''] = process.argv;
const { ec2 } = connectAws(region);
const InstanceIds = [instanceId];
let isAsked = false;
process.on('SIGTERM', () => {
  isAsked = true;
});

const stateOf = async () => {
  const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({ InstanceIds }));
  return Reservations[0]?.Instances?.[0]?.State?.Name ?? 'terminated';
};

/** One step towards a machine that runs; true when there is nothing more to do. */
const startAgain = async (): Promise<boolean> => {
  const state = await stateOf();
  if (state === 'stopped') await ec2.send(new StartInstancesCommand({ InstanceIds }));
  return state === 'running' || state === 'terminated' || state === 'shutting-down';
};

if (Date.now() < Number(until)) {
  await ec2.send(new StopInstancesCommand(powerOffOrder(instanceId))).catch(() => undefined);
  while (Date.now() < Number(until) && !isAsked) await sleep(pollMs);
  while (!(await startAgain().catch(() => false))) await sleep(lookAgainMs);
}
