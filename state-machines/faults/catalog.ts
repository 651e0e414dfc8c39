import type { FaultKind } from '../contract.ts';
import { drainNode } from './availability/fault.ts';
import { cpuPressure, ioPressure, memoryPressure } from './burn/fault.ts';
import { clockSkew } from './clock/fault.ts';
import { fillDisk } from './disk/fault.ts';
import { blockPort, dns, isolateNode, partition } from './drop/fault.ts';
import { stopEngine } from './engine/fault.ts';
import { loseCheckpoint } from './files/fault.ts';
import { pauseContainer, pauseProcess } from './freeze/fault.ts';
import { cpuLimit, ioLimit, memoryLimit, pidLimit } from './limit/fault.ts';
import { linkDown } from './link/fault.ts';
import { demoteManager, leaveSwarm } from './membership/fault.ts';
import { corrupt, delay, duplicate, loss, reorder } from './netem/fault.ts';
import { blackholeZone, interruptNode, powerOffNode, rebootNode } from './power/fault.ts';
import { throttle } from './rate/fault.ts';
import { stopService } from './scale/fault.ts';
import { expireSession } from './session/fault.ts';
import { killContainer, killProcess } from './signal/fault.ts';

/** Every fault kind there is. */
export const faultKinds: readonly FaultKind[] = [
  killContainer,
  killProcess,
  pauseContainer,
  pauseProcess,
  stopService,
  stopEngine,
  drainNode,
  demoteManager,
  leaveSwarm,
  rebootNode,
  powerOffNode,
  interruptNode,
  loseCheckpoint,
  expireSession,
  isolateNode,
  partition,
  blockPort,
  dns,
  delay,
  loss,
  duplicate,
  corrupt,
  reorder,
  throttle,
  linkDown,
  blackholeZone,
  cpuLimit,
  memoryLimit,
  pidLimit,
  ioLimit,
  cpuPressure,
  memoryPressure,
  ioPressure,
  fillDisk,
  clockSkew,
];
