import t from 'tap';
import type { NodeHandle } from '../provisioners/contract.ts';
import { RefusedError } from '../state-machines/contract.ts';
import { injectStep } from '../state-machines/dead-man/step-actions.ts';
import { faultKinds } from '../state-machines/faults/catalog.ts';
import { loadScripts } from '../state-machines/load-scripts.ts';
import { exampleFacts } from './contracts/fault-kind.ts';
import { FakeClock } from './support/fake-clock.ts';

// The kinds that aim at containers, or at processes inside them: pauseContainer, pauseProcess, killProcess.

const facts = exampleFacts('tasks');
const ids = ['0', '1'].map((digit) => digit.repeat(64));
const targets = ['node4/streaming_spark-worker-1', 'node6/streaming_spark-worker-2'];
const kindOf = (name: string) => faultKinds.find((kind) => kind.name === name)!;
const planOf = (name: string, params: object = {}) => {
  const kind = kindOf(name);
  return kind.plan(kind.params.parse(params), facts);
};
const stepsWith = (mechanism: string, args: readonly string[]) =>
  targets.map((target, index) => ({
    ...{ node: target.split('/')[0], target, mechanism },
    args: [...args, ids[index]],
  }));

t.test('pauseContainer freezes exactly the containers that were chosen', async (t) => {
  t.same(planOf('pauseContainer'), stepsWith('freeze', []));
});

t.test('pauseProcess and killProcess name processes by a part of their command line', async (t) => {
  const process = 'org.apache.spark.deploy.worker.Worker --cores 1';
  t.same(planOf('pauseProcess', { process }), stepsWith('freeze', [`process=${process}`]));
  t.same(
    planOf('killProcess', { process, signal: 'SIGTERM' }),
    stepsWith('signal', ['SIGTERM', `process=${process}`]),
  );
});

t.test("Spark's executors are meant where nothing is said", async (t) => {
  const executors = 'process=CoarseGrainedExecutorBackend';
  t.same(planOf('pauseProcess'), stepsWith('freeze', [executors]));
  t.same(planOf('killProcess'), stepsWith('signal', ['SIGKILL', executors]));
});

t.test('a text that would match all, or not survive its way, is refused by the schema', async (t) => {
  for (const name of ['pauseProcess', 'killProcess']) {
    const { params } = kindOf(name);
    for (const process of ['', ' ', 'java ', ' java', 'a\nb', 'a\tb', 'café', 'x'.repeat(201), 7, null])
      t.notOk(params.safeParse({ process }).success, `${name}: ${JSON.stringify(process)}`);
    for (const process of ['x', 'kafka.Kafka', '-Dx="a b" $HOME * [', "it's"])
      t.ok(params.safeParse({ process }).success, `${name}: ${process}`);
  }
  t.notOk(kindOf('killProcess').params.safeParse({ signal: 'SIGSTOP' }).success);
  t.notOk(kindOf('pauseContainer').params.safeParse({ process: 'java' }).success);
});

t.test('what stands still is silence, what dies is a crash, what still answers is slow', async (t) => {
  const shape = (name: string) => [kindOf(name).death, kindOf(name).instant];
  t.same(shape('cpuLimit'), ['slowness', false]);
  t.same(shape('loss'), ['silence', false], 'all may be lost');
  t.same(shape('pauseContainer'), ['silence', false]);
  t.same(shape('pauseProcess'), ['silence', false]);
  t.same(shape('killProcess'), ['crash', true]);
});

t.test('an inject.sh may refuse, and says why; any other failure of it is none', async (t) => {
  const scripts = await loadScripts('state-machines');
  const inject = (status: number) => {
    const stdout = `started 1.00\nnotbefore 1.00\nfailed ${status}\nended 1.10\n`;
    const exec: NodeHandle['exec'] = async () => ({
      code: 0,
      signal: null,
      stdout,
      stderr: 'nobody there\n',
    });
    const ports = { clock: new FakeClock(), scripts, nodes: async () => ({ exec }) as NodeHandle };
    const run = { name: 'run.0', step: planOf('pauseProcess')[0]! };
    return injectStep(ports, run, new AbortController().signal);
  };
  await t.rejects(inject(69), new RefusedError('node4: nobody there'));
  await t.rejects(inject(1), { message: 'node4: inject.sh failed (1): nobody there', code: undefined });
});
