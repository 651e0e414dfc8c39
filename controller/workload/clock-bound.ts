import { ExecError, type NodeHandle } from '../../provisioners/contract.ts';
import type { Clock, ClockBound } from '../../state-machines/contract.ts';

/**
 * Compares another clock with ours: of several questions the one with the shortest round trip bounds the difference by
 * half of it. F. Cristian, Probabilistic clock synchronization, Distributed Computing 3 (1989). `ask` gives epoch ms.
 */
export async function boundClock(
  ask: () => Promise<number>,
  clock: Clock,
  probes: number,
): Promise<Omit<ClockBound, 'node'>> {
  let best = { offsetMs: 0, boundMs: Number.POSITIVE_INFINITY };
  for (let probe = 0; probe < probes; probe++) {
    const sentMs = clock.now();
    const nowMs = await ask();
    const boundMs = (clock.now() - sentMs) / 2;
    if (boundMs < best.boundMs) best = { offsetMs: nowMs - (sentMs + boundMs), boundMs };
  }
  return best;
}

const nodeProbes = 3;

/** The same for a node's wall clock, over its connection. Rejects when it does not answer, or knows no nanoseconds. */
export async function boundNodeClock(
  node: NodeHandle,
  clock: Clock,
  signal: AbortSignal,
): Promise<ClockBound> {
  const ask = async () => {
    const { stdout } = await node.exec('date +%s%N', [], {}, signal);
    const ns = Number(stdout.trim());
    if (!(ns > 0)) throw new ExecError(node.name, `date answered ${stdout.trim()}`);
    return Math.round(ns / 1e6);
  };
  return { node: node.name, ...(await boundClock(ask, clock, nodeProbes)) };
}
