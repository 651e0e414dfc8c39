import { ExecError, type NodeHandle, type SwitchName } from '../provisioners/contract.ts';
import type { FaultStep, Need } from './contract.ts';
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

/** Why the switch of a step cannot be thrown; undefined where it can be, or needs none. */
export function missingSwitch(
  { node, switch: name }: FaultStep,
  switches: { readonly [name in SwitchName]?: unknown },
): string | undefined {
  if (name === undefined || switches[name]) return undefined;
  return `${node}: its provisioner ${withoutSwitch[name]}`;
}

const withoutSwitch: { readonly [name in SwitchName]: string } = {
  power: 'has no power switch',
  zone: 'cannot cut off a zone',
  spot: 'has no spot machines',
};
