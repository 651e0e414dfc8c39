import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { ClusterPlan } from '../../controller/cluster/cluster-plan.ts';
import type { DesiredStack } from '../../controller/stack/convert-stack.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import type { NetworkSpec } from '../../controller/swarm/swarm-types.ts';
import {
  anyStack,
  checkStack,
  edits,
  network,
  plainService,
  StacksOn,
  stackOf,
} from '../support/any-stack.ts';
import { startOwnEngine } from '../support/own-engine.ts';

const runs = 150;
const image = 'shell:1';

/** Just enough for a container that waits, or ends. */
const root = ['bin/sh', 'bin/sleep', 'lib/x86_64-linux-gnu/libc.so.6', 'lib64/ld-linux-x86-64.so.2'];

t.test('on a real engine', async (t) => {
  const signal = AbortSignal.timeout(600_000);
  const engine = await startOwnEngine(signal);
  t.teardown(() => engine.stop());
  const swarm = swarmGateway(engine.docker);
  execFileSync('sh', ['-c', `tar -C / -ch ${root.join(' ')} | docker -H ${engine.host} import - ${image}`]);

  /** A beginning without anything, that leaves nothing. */
  const begin = (t: Test): StacksOn => {
    const on = new StacksOn(swarm, signal);
    t.teardown(() => on.carryOut([]));
    return on;
  };

  t.test('a stack comes back as it was asked for, and a change of one field is one update', async (t) => {
    const on = begin(t);
    await fc.assert(
      fc.asyncProperty(anyStack, fc.constantFrom(...Object.keys(edits)), async (stack, edit) => {
        await checkStack(on, stack, edit).finally(() => on.carryOut([]));
      }),
      { numRuns: runs, seed: 7, endOnFailure: true, includeErrorInReport: true },
    );
  });

  t.test(
    'a network comes back as it was asked for, and one that differs is made anew with its users',
    async (t) => {
      const on = begin(t);
      const Options = { 'com.docker.network.driver.mtu': '1400', empty: '' };
      const Config = [{ Subnet: '10.99.0.0/24', Gateway: '10.99.0.7' }];
      const kinds: readonly NetworkSpec[] = [
        network('app'),
        { ...network('app'), Attachable: false },
        { ...network('app'), Internal: true },
        { ...network('app'), Options },
        { ...network('app'), IPAM: { Driver: 'default', Config } },
        { ...network('app'), IPAM: { Config: [{ Subnet: '10.99.0.0/24' }] } },
        { ...network('app'), IPAM: { Config: [{ Subnet: '10.98.0.0/24' }] } },
        { ...network('app'), Labels: { ...network('app').Labels, more: '' } },
      ];
      const user = plainService('s_user', {
        Image: image,
        Command: ['/bin/sleep', '99'],
        StopGracePeriod: 0,
      });
      const TaskTemplate = { ...user.TaskTemplate, Networks: [{ Target: 'app' }] };
      const stackWith = (spec: NetworkSpec) => stackOf([{ ...user, TaskTemplate }], [spec]);
      for (const spec of kinds) {
        const plan = await on.plan([stackWith(spec)]);
        if (spec !== kinds[0]) {
          // A gateway that nobody asks for may be any.
          const isSame = spec === kinds[5];
          t.same(plan.problems.length, isSame ? 0 : 1, 'not without permission');
        }
        await on.carryOut([stackWith(spec)], () => {}, true);
        t.same((await on.plan([stackWith(spec)])).steps, [], JSON.stringify(spec));
      }
    },
  );

  t.test('a service of another mode is made anew', async (t) => {
    const on = begin(t);
    const modes = [{ Replicated: { Replicas: 0 } }, { Global: {} }, { ReplicatedJob: {} }, { GlobalJob: {} }];
    for (const Mode of [...modes, modes[0]!]) {
      const stack = stackOf([
        plainService('s_web', { Image: image, Command: ['/bin/sh', '-c', ':'] }, { Mode }),
      ]);
      await on.carryOut([stack], () => {}, true);
      t.same((await on.plan([stack])).steps, []);
    }
  });

  const shell = (script: string, FailureAction: 'pause' | 'rollback'): DesiredStack => {
    const container = { Image: image, Command: ['/bin/sh', '-c', script], StopGracePeriod: 0 };
    return stackOf([plainService('s_web', container, { UpdateConfig: { FailureAction, Monitor: 2e9 } })], []);
  };

  /** Passes until the plan is as it should be. */
  async function until(
    on: StacksOn,
    stack: DesiredStack,
    is: (plan: ClusterPlan) => boolean,
  ): Promise<ClusterPlan> {
    for (let passes = 0; passes < 150; passes++) {
      const plan = await on.plan([stack]);
      await on.apply(plan);
      if (is(plan)) return plan;
      await sleep(200, undefined, { signal });
    }
    throw new Error(`never: ${JSON.stringify(await on.plan([stack]))}`);
  }

  const isReady = ({ steps, waiting, problems }: ClusterPlan) =>
    steps.length + waiting.length + problems.length === 0;
  const hasFailed = ({ problems }: ClusterPlan) => problems.some(({ reason }) => reason === 'RolloutFailed');

  for (const action of ['rollback', 'pause'] as const) {
    t.test(
      `an update that fails is told with its task's error, and not tried again: ${action}`,
      async (t) => {
        const on = begin(t);
        const startedMs = Date.now();
        await until(on, shell('sleep 1000', action), isReady);
        t.ok(Date.now() - startedMs >= 2000, 'watched for as long as it asks for');
        const bad = shell('exit 3', action);
        const { problems } = await until(on, bad, hasFailed);
        const end = action === 'pause' ? 'paused' : 'rolled back';
        t.match(problems[0]?.message, new RegExp(`its update was ${end}: task: non-zero exit \\(3\\)`));
        for (let pass = 0; pass < 5; pass++) {
          const plan = await on.plan([bad]);
          t.same([plan.steps.length, hasFailed(plan)], [0, true]);
          await sleep(1000, undefined, { signal });
        }
        const { UpdateStatus } = await on.service('s_web');
        t.match(UpdateStatus?.State, action === 'pause' ? 'paused' : /^rollback_/);
        await until(on, shell('sleep 2000', action), isReady);
      },
    );
  }

  t.test('a new service whose tasks fail says why', async (t) => {
    const on = begin(t);
    const { waiting } = await until(on, shell('exit 4', 'pause'), ({ waiting }) =>
      waiting.some(({ message }) => message.includes('non-zero')),
    );
    t.match(waiting[0]?.message, /^0 of 1 tasks run: task: non-zero exit \(4\)$/);
  });

  t.test('what somebody else has written meanwhile is read again', async (t) => {
    const on = begin(t);
    const [one, two] = [
      plainService('s_web', { Image: 'none:1' }),
      plainService('s_web', { Image: 'none:2' }),
    ];
    await on.carryOut([stackOf([one], [])]);
    const plan = await on.plan([stackOf([two], [])]);
    const live = await on.service('s_web');
    await swarm.updateService(live, { ...live.Spec, Labels: { ...live.Spec.Labels, by: 'hand' } }, signal);
    t.equal(await on.apply(plan), false, 'out of sequence');
    await on.carryOut([stackOf([two], [])]);
    const { Spec } = await on.service('s_web');
    t.match(Spec, { TaskTemplate: { ContainerSpec: { Image: 'none:2' } } });
    t.notOk(Spec.Labels.by);
  });
});
