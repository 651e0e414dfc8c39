import type { FaultKind } from '../contract.ts';
import { drainNode } from './availability/fault.ts';
import { cpuPressure, memoryPressure } from './burn/fault.ts';
import { blockPort, isolateNode, partition } from './drop/fault.ts';
import { stopEngine } from './engine/fault.ts';
import { pauseContainer, pauseProcess } from './freeze/fault.ts';
import { cpuLimit, memoryLimit, pidLimit } from './limit/fault.ts';
import { demoteManager, leaveSwarm } from './membership/fault.ts';
import { powerOffNode, rebootNode } from './power/fault.ts';
import { throttle } from './rate/fault.ts';
import { stopService } from './scale/fault.ts';
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
  isolateNode,
  partition,
  blockPort,
  throttle,
  cpuLimit,
  memoryLimit,
  pidLimit,
  cpuPressure,
  memoryPressure,
];
