import { ExecError, type NodeHandle } from '../../provisioners/contract.ts';
import type { NodePool } from './node-pool.ts';

/** A machine as those see it who keep it for long: each call goes over whatever connection the pool has then. */
export async function pooledNode(name: string, pool: NodePool, ended: AbortSignal): Promise<NodeHandle> {
  const { address } = await pool.handle(name, ended);
  const current = async (signal: AbortSignal): Promise<NodeHandle> => {
    try {
      return await pool.handle(name, signal);
    } catch (error) {
      if (signal.aborted || error instanceof ExecError) throw error;
      throw new ExecError(name, error instanceof Error ? error.message : String(error), { cause: error });
    }
  };
  return {
    name,
    address,
    exec: async (script, args, options, signal) =>
      (await current(signal)).exec(script, args, options, signal),
    dial: async (target, signal) => (await current(signal)).dial(target, signal),
    controllerAddress: async (signal) => (await current(signal)).controllerAddress(signal),
    close: () => {}, // the pool's own
  };
}
