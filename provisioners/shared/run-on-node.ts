import { type NodeHandle, ProvisionError } from '../contract.ts';

/** Runs a script that has to succeed, and resolves with what it printed; the error says what was being done, and what was complained of. */
export async function runOnNode(
  node: NodeHandle,
  doing: string,
  script: string,
  args: readonly string[],
  signal: AbortSignal,
  stdin?: string,
): Promise<string> {
  const { code, stdout, stderr } = await node.exec(
    script,
    args,
    stdin === undefined ? {} : { stdin },
    signal,
  );
  if (code === 0) return stdout;
  const why = stderr.trim().split('\n').slice(-3).join('; ');
  throw new ProvisionError([`${node.name}: ${doing}: ${why || `the script ended with ${code}`}`]);
}
