import t from 'tap';
import { systemClock } from '../../controller/clock.ts';
import { LeaseElector, type LeaseTimes } from '../../controller/lease/lease-elector.ts';
import { leaseName, readLease } from '../../controller/lease/lease-record.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import { eventually } from '../support/controller-process.ts';
import { startOwnEngine } from '../support/own-engine.ts';

// What the election takes for granted of a real swarm: labels of a config that only who has read them may change.

t.setTimeout(120_000);
const signal = AbortSignal.timeout(110_000);
const engine = await startOwnEngine(signal);
t.teardown(() => engine.stop());
const swarm = swarmGateway(engine.docker);
const times: LeaseTimes = { leaseMs: 1_500, renewMs: 900, retryMs: 300 };

function stand(identity: string) {
  const stop = new AbortController();
  const elector = new LeaseElector({
    ...{ cluster: 'c', identity, times, clock: systemClock, monotonicMs: () => performance.now() },
    managers: async () => [async () => swarm],
    acquired: () => {},
    changed: () => {},
  });
  const running = elector.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
  };
  return { elector, end };
}
type Standing = ReturnType<typeof stand>;
const leads = ({ elector }: Standing) => eventually('it leads', 10_000, () => elector.mandate);

await t.test('of two that write what they have read, one is refused', async (t) => {
  const Name = leaseName('cas');
  const id = await swarm.createConfig({ Name, Labels: { of: 'nobody' }, Data: 'eA==' }, signal);
  const read = await swarm.findConfig(Name, signal);
  t.equal(read?.ID, id);
  await swarm.labelConfig(read!, { of: 'one' }, signal);
  await t.rejects(swarm.labelConfig(read!, { of: 'other' }, signal), { code: 'CONFLICT' });
  t.match(await swarm.findConfig(id, signal), { Spec: { Labels: { of: 'one' }, Data: 'eA==' } });
  await t.rejects(swarm.createConfig({ Name, Labels: {}, Data: 'eA==' }, signal), { code: 'NAME_TAKEN' });
  await swarm.removeConfig(id, signal);
  t.equal(await swarm.findConfig(Name, signal), undefined);
});

await t.test('one leads, and the next one when it has let go, or said nothing for so long', async (t) => {
  const a = stand('a');
  const first = await leads(a);
  const b = stand('b');
  await eventually('b has seen who leads', 5_000, () => b.elector.leader);
  t.equal(await a.elector.noteRun('crash', 'hash/', signal), true);
  await a.end();
  await a.elector.release(signal);
  t.match(await leads(b), / 2$/);
  t.equal(await b.elector.noteRun('crash', 'hash/', signal), false);
  const c = stand('c');
  await eventually('c has seen who leads', 5_000, () => c.elector.leader);
  await b.end();
  const fromMs = performance.now();
  t.equal(await leads(c), first.replace(/ 1$/, ' 3'), 'the same lease');
  t.ok(performance.now() - fromMs > times.leaseMs - times.retryMs - 100, 'after it has stood still');
  const live = await swarm.findConfig(leaseName('c'), signal);
  t.match(readLease(live!), { holder: 'c', term: 3, durationMs: 1_500, runs: { crash: 'hash/' } });
  await c.elector.remove(signal);
  await c.end();
});
