import type { FaultKind } from '../contract.ts';
import { isolateNode } from './drop/fault.ts';
import { killContainer } from './signal/fault.ts';

/** Every fault kind there is. */
export const faultKinds: readonly FaultKind[] = [killContainer, isolateNode];
