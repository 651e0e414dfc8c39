import { ExecError, type NodeHandle } from '../provisioners/contract.ts';
import type { Need } from './contract.ts';
import type { Scripts } from './load-scripts.ts';

/** Which of the needs a node does not meet; an ExecError when it cannot be asked. */
export async function missingNeeds(
  node: NodeHandle,
  needs: readonly Need[],
  scripts: Scripts,
  signal: AbortSignal,
): Promise<readonly Need[]> {
  const { code, stdout, stderr } = await node.exec(scripts.deadMan('lacks.sh'), needs, {}, signal);
  if (code !== 0) throw new ExecError(node.name, `lacks.sh ended with ${code}: ${stderr.trim()}`);
  return needs.filter((need) => stdout.split('\n').includes(need));
}
