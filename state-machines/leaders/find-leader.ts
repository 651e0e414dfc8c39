import type { Leads } from '../../crds/fault-schedule.ts';
import { messageOf } from '../../provisioners/contract.ts';
import { type Nodes, RefusedError, type TaskTarget, targetName } from '../contract.ts';
import type { Scripts } from '../load-scripts.ts';
import { type Question, questionOf } from './questions.ts';

interface Asking {
  readonly nodes: Nodes;
  readonly scripts: Pick<Scripts, 'ask'>;
}

/**
 * The one task among the candidates that leads at this moment, by its own word. Throws RefusedError, with what each of
 * them said, when none does or when several claim to: then nobody knows whom the fault would hit.
 */
export async function findLeader(
  candidates: readonly TaskTarget[],
  leads: Leads,
  asking: Asking,
  signal: AbortSignal,
): Promise<TaskTarget> {
  const question = questionOf(leads);
  const asked = await Promise.all(
    candidates.map(async (task) => {
      try {
        return { task, said: (await ask(task, question, asking, signal)) ? 'leads' : 'follows' } as const;
      } catch (error) {
        signal.throwIfAborted();
        return { task, said: `is not clear (${messageOf(error)})` };
      }
    }),
  );
  const leaders = asked.filter(({ said }) => said === 'leads');
  const [leader, ...others] = leaders;
  if (leader && others.length === 0) return leader.task;
  const answers = (leader ? leaders : asked)
    .map(({ task, said }) => `${targetName(task)} ${said}`)
    .join(', ');
  const problem = leader ? 'several claim to lead' : 'nobody leads';
  throw new RefusedError(`${problem} ${question.of}: ${answers || 'no task runs that could'}`);
}

async function ask(
  { node, containerId }: TaskTarget,
  { port, said, endsBy, leads }: Question,
  { nodes, scripts }: Asking,
  signal: AbortSignal,
): Promise<boolean> {
  const handle = await nodes(node);
  const args = [containerId, String(port), endsBy];
  const { code, stdout, stderr } = await handle.exec(scripts.ask, args, { stdin: said }, signal);
  if (code !== 0) throw new Error(stderr.trim() || `asking it ended with ${code}`);
  return leads(Buffer.from(stdout, 'base64'));
}
