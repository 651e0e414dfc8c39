import { ExecError } from '../../provisioners/contract.ts';
import { deadline } from '../../provisioners/deadline.ts';
import type { Nodes } from '../../state-machines/contract.ts';
import type { Scripts } from '../../state-machines/load-scripts.ts';
import type { Answer } from './deafness.ts';
import type { Question } from './plan-questions.ts';

/** Longer than the script takes: it gives each name three seconds. */
const limitMs = 15_000;

/** Puts the questions to their nodes, one call for each node; one that cannot be asked answers nothing. */
export async function askNodes(
  questions: readonly Question[],
  nodes: Nodes,
  { resolve }: Pick<Scripts, 'resolve'>,
  signal: AbortSignal,
): Promise<readonly Answer[]> {
  const names = [...new Set(questions.map(({ node }) => node))];
  const asked = names.map(async (name) => {
    const own = questions.filter(({ node }) => node === name);
    const stdin = [...new Set(own.map((each) => `${each.container} ${each.name}\n`))].join('');
    const within = AbortSignal.any([signal, deadline(limitMs)]);
    const { code, stdout, stderr } = await (await nodes(name)).exec(resolve, [], { stdin }, within);
    if (code !== 0) throw new ExecError(name, `resolve.sh ended with ${code}: ${stderr.trim()}`);
    return stdout.split('\n').flatMap(toAnswer);
  });
  const settled = await Promise.allSettled(asked);
  signal.throwIfAborted();
  return settled.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
}

function toAnswer(line: string): readonly Answer[] {
  const [container, name, state, ...addresses] = line.split(' ');
  if (!container || !name || (state !== 'whole' && state !== 'cut' && state !== 'none')) return [];
  return [{ container, name, state, addresses }];
}
