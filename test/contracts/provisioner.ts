import type { Test } from 'tap';
import {
  ExecError,
  type Machine,
  type MachineSpec,
  type NodeHandle,
  type Provisioner,
} from '../../provisioners/contract.ts';

export interface ProvisionerUnderTest {
  /** A new provisioner bound to the same cluster: state must come from the world, never from the last one's memory. */
  readonly bind: () => Provisioner;
  /** Two machines that do not exist yet. */
  readonly specs: readonly [MachineSpec, MachineSpec];
  readonly signal: AbortSignal;
}

/** What every provisioner promises. Starts from nothing, and leaves nothing. */
export const provisionerContract = async (
  t: Test,
  { bind, specs, signal }: ProvisionerUnderTest,
): Promise<void> => {
  const [first, second] = specs;
  const machine = async (name: string): Promise<Machine> => {
    const found = (await bind().list(signal)).find((each) => each.name === name);
    if (!found) throw new Error(`${name} is not listed`);
    return found;
  };
  const withNode = async <T>(name: string, use: (node: NodeHandle) => Promise<T>): Promise<T> => {
    const node = await bind().connect(await machine(name), signal);
    try {
      return await use(node);
    } finally {
      node.close();
    }
  };

  const eventually = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    const deadlineMs = Date.now() + 60_000;
    while (!(await holds())) {
      if (Date.now() > deadlineMs) throw new Error(`not within a minute: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };

  await t.test('lists nothing where nothing was made, and removes nothing without complaint', async (t) => {
    t.same(await bind().list(signal), []);
    await bind().destroy(first.name, signal);
    await bind().destroyShared(signal);
  });

  await t.test('makes machines at the same time, and making them again changes nothing', async (t) => {
    const provisioner = bind();
    await Promise.all(specs.map((spec) => provisioner.create(spec, signal)));
    const made = await bind().list(signal);
    t.same(made.map(({ name }) => name).sort(), specs.map(({ name }) => name).sort());
    t.equal(new Set(made.map(({ address }) => address)).size, 2);
    for (const spec of specs) {
      t.match(await machine(spec.name), { power: 'on', settingsHash: bind().settingsHash(spec) });
    }
    await Promise.all(specs.map((spec) => bind().create(spec, signal)));
    t.same(await bind().list(signal), made);
  });

  await t.test('connects to a machine on which scripts run as root beside a running engine', async (t) => {
    const answer = await withNode(first.name, (node) =>
      node.exec('id -un; docker info >/dev/null && echo "$1"; exit 3', ["it's up"], {}, signal),
    );
    t.match(answer, { code: 3, stdout: "root\nit's up\n" });
    const peer = await withNode(second.name, (node) => node.exec('hostname', [], {}, signal));
    t.equal(peer.stdout.trim(), second.name);
  });

  await t.test('runs scripts beside each other, each with its own input, outputs and end', async (t) => {
    await withNode(first.name, async (node) => {
      const hung = new AbortController();
      const hanging = node.exec('sleep 20', [], {}, hung.signal);
      const stdin = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 256);
      const script = 'echo "$1" >&2; cksum; kill -TERM $$';
      const once = await node.exec(script, ['alone'], { stdin }, signal);
      t.match(once, { code: null, signal: 'SIGTERM', stdout: / 300000\n$/, stderr: 'alone\n' });
      const names = Array.from({ length: 20 }, (_, index) => `${index}\n`);
      const answers = await Promise.all(
        names.map((name) => node.exec(script, [name.trim()], { stdin }, signal)),
      );
      t.same(
        answers,
        names.map((stderr) => ({ ...once, stderr })),
      );
      hung.abort(new Error('enough'));
      await t.rejects(hanging, { message: 'enough' });
      // Whoever started it dies: what became of it is not known, and the next one runs.
      const killing = node.exec('kill -9 $PPID; sleep 1', [], {}, signal);
      await t.rejects(killing, ExecError);
      t.match(await node.exec('id -un', [], { lane: 'heal' }, signal), { code: 0, stdout: 'root\n' });
    });
  });

  await t.test('a machine without power keeps its name, address and identity', async (t) => {
    const { power } = bind();
    if (!power) return t.pass('it cannot pull the plug');
    const before = await machine(first.name);
    await power.off(first.name, signal);
    await power.off(first.name, signal);
    t.same(await machine(first.name), { ...before, power: 'off' });
    await t.rejects(bind().connect(await machine(first.name), signal), ExecError);
    await power.on(first.name, signal);
    await bind().create(first, signal);
    t.same(await machine(first.name), before);
    t.match(await withNode(first.name, (node) => node.exec('true', [], {}, signal)), { code: 0 });
  });

  await t.test(
    'a machine is off until an instant, whatever becomes of who asked, or until it is put on',
    async (t) => {
      const { power } = bind();
      if (!power) return t.pass('it cannot pull the plug');
      const before = await machine(first.name);
      const isOff = async () => (await machine(first.name)).power === 'off';
      await power.offUntil(first.name, Date.now() - 1_000, signal);
      await power.on(first.name, signal); // comes after it
      t.notOk(await isOff(), 'not when the instant has passed');

      const untilMs = Date.now() + 5_000;
      await power.offUntil(first.name, untilMs, signal);
      await eventually('off', isOff);
      t.ok(Date.now() < untilMs + 1_000);
      await eventually('on again', async () => !(await isOff()));
      t.ok(Date.now() > untilMs - 1_000);
      await bind().create(first, signal);

      await power.offUntil(first.name, Date.now() + 600_000, signal);
      await eventually('off', isOff);
      await bind().power?.on(first.name, signal); // another process than the one that asked
      t.same(await machine(first.name), before);
      // Ordered and at once called back: whichever comes first, it ends on.
      await Promise.all([
        power.offUntil(first.name, Date.now() + 600_000, signal),
        power.on(first.name, signal),
      ]);
      t.same(await machine(first.name), before);
      await bind().create(first, signal);
      t.match(await withNode(first.name, (node) => node.exec('true', [], {}, signal)), { code: 0 });
    },
  );

  await t.test('a machine that reboots is on all the while, and comes back as itself', async (t) => {
    const before = await machine(first.name);
    const life = "sed 's/.*) //' /proc/1/stat | cut -d' ' -f20";
    const lifeOf = async () =>
      (await withNode(first.name, (node) => node.exec(life, [], {}, signal)).catch(() => undefined))?.stdout;
    const was = await lifeOf();
    await withNode(first.name, (node) => node.exec('systemctl reboot', [], {}, signal));
    await eventually('another life', async () => ![was, undefined, ''].includes(await lifeOf()));
    await bind().create(first, signal);
    t.same(await machine(first.name), before);
  });

  await t.test('a machine that was removed and made again is another one', async (t) => {
    const before = await machine(first.name);
    const peer = await machine(second.name);
    await bind().destroy(first.name, signal);
    t.same(await bind().list(signal), [peer], 'its peer stays');
    await bind().create(first, signal);
    t.not((await machine(first.name)).incarnation, before.incarnation);
  });

  await t.test('leaves nothing when all is removed', async (t) => {
    await Promise.all(specs.map(({ name }) => bind().destroy(name, signal)));
    await bind().destroyShared(signal);
    await bind().destroyShared(signal);
    t.same(await bind().list(signal), []);
  });
};
