import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { topics } from '../../compose/streaming/kafka/kafka-client.ts';
import type { OfflineVerdict } from '../../compose/streaming/observer/verify.ts';
import type { TrialRecord } from '../../crds/trial-record.ts';
import type { RunRecord } from '../../state-machines/contract.ts';
import { BenchLab, sixNodes } from '../bench/bench-lab.ts';
import { askFrontier, memoryMb } from '../bench/generator-task.ts';
import { endController, eventually } from '../support/controller-process.ts';
import { packageRoot } from '../support/examples.ts';
import { engineOrSkip } from '../support/lab-engine.ts';

// What measures, under faults of its own: the real job on HDFS, with its generator, its observer and its broker killed or
// frozen in the middle of trials, and the controller in the middle of a campaign.

t.setTimeout(5_400_000);
await engineOrSkip(t);
const limit = AbortSignal.timeout(5_300_000);
const workDir = mkdtempSync(join(tmpdir(), 'spark-failures-job-'));
const cacheDir = join(homedir(), '.cache', 'spark-failures');
const layout = {
  ...{ name: 'job-test', subnet: '10.92.0.0/24', nodes: sixNodes },
  checkpoint: { hdfs: {} },
};
const lab = new BenchLab({ workDir, cacheDir }, layout, limit);
await lab.removeLeftovers();
t.teardown(async () => {
  if (!t.passing()) t.comment(readFileSync(lab.log, 'utf8').split('\n').slice(-150).join('\n'));
  await lab.down();
  rmSync(workDir, { recursive: true, force: true });
});

/** Where the stack's label `place == source` puts generator, broker and observer. */
const source = 2;
const generator = 'streaming_generator.1';
const otherGenerator = 'streaming_generator.2';
const observer = 'streaming_observer';
const kafka = 'streaming_kafka';

const worker = { services: { matchLabels: { role: 'spark-worker' } }, pick: 'one' };
const broker = { services: { matchLabels: { role: 'kafka' } } };
const crash = { name: 'crash', target: worker, killContainer: {} };

const smoke = (faults: readonly object[], more: object = {}) => ({
  ...{ clusterRef: { name: layout.name }, seed: 11, when: { now: {} }, preset: 'smoke' },
  // One broker is all there is.
  ...{ allowQuorumLoss: true, faults, ...more },
});
const measureOne = async (name: string, fault: object): Promise<TrialRecord> => {
  const { trials } = await lab.runSchedule(name, smoke([fault]), 1_800_000);
  return trials[0]!;
};

/** Resolves once a run of this schedule has come to its fault. */
const injected = (schedule: string, times = 1) =>
  eventually(`${schedule} is injected`, 900_000, () => {
    const lines = readFileSync(join(lab.stateDir, 'journal.ndjson'), 'utf8').trim().split('\n');
    const runs = lines.map((line) => JSON.parse(line) as RunRecord);
    const begun = runs.filter((run) => run.schedule === schedule && run.phase === 'injecting');
    return new Set(begun.map(({ runId }) => runId)).size >= times || undefined;
  });

/** What the topics say by themselves; how it ends says the verdict once more. */
const verify = async () => {
  const script = 'node /app/app.cjs --verify || [ $? -le 2 ]';
  const answer = await lab.onTask(source, observer, ['exec'], ['sh', '-c', script]);
  return JSON.parse(answer) as OfflineVerdict;
};

let operator: ChildProcess | undefined;

t.test('a job on HDFS becomes Ready', async () => {
  const env = { RATE: '1000', PROFILE: 'fast', GENERATORS: '2' };
  lab.save([{ name: 'streaming', compose: join(packageRoot, 'compose', 'streaming', 'stack.yaml'), env }]);
  operator = await lab.watch();
  await lab.untilReady();
});

t.test('two generators have three partitions each', async (t) => {
  // A task that runs has not begun yet: Node.js takes a second to answer.
  const [one, other] = await eventually('both have begun', 60_000, () =>
    Promise.all([generator, otherGenerator].map((task) => askFrontier(lab, source, task))),
  );
  t.same(one!.perPartition.map(({ partition }) => partition).sort(), [0, 2, 4]);
  t.same(other!.perPartition.map(({ partition }) => partition).sort(), [1, 3, 5]);
});

t.test('a job whose checkpoint is behind the network recovers from a crash', async (t) => {
  const trial = await measureOne('crash', crash);
  t.match(trial, { outcome: 'Healed', verdict: { correctness: 'Correct' } });
  t.match(trial.verdict?.recovery, /^(Recovered|Masked)$/);
  t.match(trial.settings?.checkpoint, /hdfs/);
});

t.test('the topics say by themselves that nothing is wrong', async (t) => {
  const { verdict, records, correctness } = await verify();
  t.equal(verdict, 'Correct', JSON.stringify(correctness));
  t.ok(records > 10_000, `${records} records`);
});

for (const [service, name] of [
  [generator, 'generator'],
  [observer, 'observer'],
] as const) {
  t.test(
    `the ${name} killed in a trial makes it Invalid, with the reason and without a number`,
    async (t) => {
      const schedule = `${name}-killed`;
      const measuring = measureOne(schedule, crash);
      await injected(schedule);
      await lab.onTask(source, service, ['kill']);
      const trial = await measuring;
      t.match(trial, { outcome: 'Healed', verdict: { recovery: 'Invalid' } });
      t.match(trial.message, `the ${name} was started anew while it was watched`);
      t.same(trial.figures, {});
    },
  );
}

t.test('a generator that was killed has gone on where it was', async (t) => {
  const { perPartition, acked } = await askFrontier(lab, source, generator);
  t.ok(acked > 10_000, 'counted on from its ledger');
  t.same(
    perPartition.filter(({ absent }) => absent !== undefined && absent.length > 0),
    [],
  );
  const { verdict, correctness } = await verify();
  t.equal(verdict, 'Correct', JSON.stringify(correctness));
});

t.test('a broker that is killed is measured, and what it stored is all there', async (t) => {
  const trial = await measureOne('broker-killed', { name: 'crash', target: broker, killContainer: {} });
  t.match(trial, { outcome: 'Healed', verdict: { correctness: 'Correct' } });
  t.match(trial.verdict?.recovery, /^(Recovered|Masked)$/, trial.message ?? '');
});

t.test('ten minutes without a broker cost neither memory nor a place', async (t) => {
  const frozen = { name: 'frozen', target: broker, hold: '600s', pauseContainer: {} };
  const trial = await measureOne('broker-frozen', frozen);
  t.equal(trial.outcome, 'Healed');
  t.not(trial.verdict?.recovery, 'Invalid', trial.message ?? '');
  t.equal(trial.verdict?.correctness, 'Correct', JSON.stringify(trial.correctness));
  const [peakMb] = await memoryMb(lab, source, generator);
  t.ok(peakMb < 200, `${peakMb} MB at most`);
  const { verdict, correctness } = await verify();
  t.equal(verdict, 'Correct', JSON.stringify(correctness));
});

t.test('a record that is none is named, and stops nobody', async (t) => {
  const before = await verify();
  const script =
    // Without the agent of the broker, which has its port.
    'echo "no purchase" | KAFKA_OPTS= /opt/kafka/bin/kafka-console-producer.sh --bootstrap-server "$1" --topic "$2"';
  await lab.onTask(source, kafka, ['exec'], ['sh', '-c', script, 'sh', 'localhost:9092', topics.events]);
  const after = await eventually('it is read', 60_000, async () => {
    const answer = await verify();
    return answer.correctness.altered > 0 ? answer : undefined;
  });
  t.equal(after.verdict, 'Incorrect');
  t.same(after.correctness, { ...before.correctness, altered: 1 }, 'and nothing else');
  t.ok(after.records > before.records);
});

t.test('a campaign goes on after its controller was killed, and resets the job between trials', async (t) => {
  const executor = {
    ...{ name: 'executor', target: worker },
    killProcess: { process: 'CoarseGrainedExecutorBackend' },
  };
  const restarts = async () =>
    Number(
      await lab.onNode(
        1,
        ...['docker', 'service', 'inspect', 'streaming_driver'],
        ...['--format', '{{.Spec.TaskTemplate.ForceUpdate}}'],
      ),
    );
  const before = await restarts();
  // A job that was just restarted is not steady at once, and less so on a busy machine.
  const spec = smoke([crash, executor], { trials: 1, controls: 1, reset: 'job', gate: '30s' });
  const running = lab.runSchedule('campaign', spec, 2_400_000);
  const ended = running.then(({ trials }) => {
    throw new Error(`no second fault: ${trials.map(({ message }) => message).join('; ')}`);
  });
  await Promise.race([injected('campaign', 2), ended]);
  await endController(operator!, 'SIGKILL');
  operator = await lab.watch();
  const { trials } = await running;
  t.same(trials.map(({ number }) => number).sort(), [1, 2, 3], 'each trial once');
  const cutOff = trials.filter(({ message }) => message === 'the trial was cut off');
  t.equal(cutOff.length, 1, 'only the one that was hurt when its controller died');
  // A job that was just restarted on a busy machine may not become steady in time, and is told so.
  const isUnsteady = ({ message = '' }: TrialRecord) => message.startsWith('not steady before the fault');
  const measured = trials.filter((trial) => !cutOff.includes(trial) && !isUnsteady(trial));
  t.ok(measured.length > 0);
  for (const { fault, outcome, verdict, message } of measured) {
    t.equal(outcome, 'Healed', fault);
    t.match(verdict, { correctness: 'Correct' }, fault);
    t.not(verdict?.recovery, 'Invalid', message ?? '');
  }
  t.equal(await restarts(), before + 2, 'the driver was restarted before each trial but the first');
});
