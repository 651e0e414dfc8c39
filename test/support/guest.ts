import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { buildImage, inspectImage, RECIPE_LABEL } from '../../compose/images/local-engine.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { systemClock } from '../../controller/clock.ts';
import { gatherFacts, gatherInventory } from '../../controller/schedule/gather-facts.ts';
import type { Inventory } from '../../controller/schedule/select-targets.ts';
import { swarmGateway } from '../../controller/swarm/docker-gateways.ts';
import { type NodeHandle, type NodeSwitch, OVERLAY_POOL } from '../../provisioners/contract.ts';
import { dockerOver } from '../../provisioners/shared/docker-client.ts';
import {
  gatherPackageFacts,
  installPackages,
  whyNoPackages,
} from '../../provisioners/shared/install-packages.ts';
import { generateKeyPair, pinOf } from '../../provisioners/shared/keys.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { SshNode, type SshTarget } from '../../provisioners/shared/ssh-node.ts';
import type { Facts, Target, TaskTarget } from '../../state-machines/contract.ts';
import type { StepPorts } from '../../state-machines/dead-man/step-actions.ts';
import { loadScripts, type Scripts } from '../../state-machines/load-scripts.ts';
import { type FaultLab, faultRuns } from './fault-lab.ts';
import { type FaultSteps, faultSteps } from './fault-steps.ts';
import { engineOrSkip } from './lab-engine.ts';

/**
 * A virtual machine with Debian's stock kernel, all of it emulated: a node like the lab's, `node1`, which shares no kernel
 * with anybody, under cgroup version 2. `node2` and `node3` are network namespaces in it, with addresses of their own; with
 * a swarm there is in their place `outside`, this computer, which sees whether the guest's sshd answers.
 */
export interface Guest extends FaultSteps {
  readonly scripts: Scripts;
  readonly ports: StepPorts;
  /** Of the whole machine: `off` is the end of its processor, and what was not on its disk by then is lost. */
  readonly power: NodeSwitch;
  /** Ends with the test file's own limit. */
  readonly signal: AbortSignal;
  node(name: string): NodeHandle;
  /** Standard output of a shell script run as root; rejects when it fails. */
  on(name: string, script: string, ...args: string[]): Promise<string>;
  /** What the swarm runs, or else what was started here. */
  inventory(): Promise<Inventory>;
  facts(targets: readonly Target[]): Promise<Facts>;
  /**
   * Starts a shell script as the first process of its own namespaces, in a cgroup that is named as a container's: what
   * scripts on a node take for a container, without an engine. Its address is on the network `10.99.1.0/24`.
   */
  startProcess(script?: string): Promise<TaskTarget>;
  /** One fault from nothing to healed, as in a lab. */
  readonly run: FaultLab['run'];
  until(what: string, limitMs: number, holds: () => Promise<boolean>): Promise<void>;
}

interface GuestLayout {
  /** Its engine runs, and makes a swarm of one; there are no peers inside. */
  readonly swarm?: boolean;
  readonly limitMs?: number;
  readonly memoryMib?: number;
}

const user = 'operator';
const peers = { node1: '10.77.0.1', node2: '10.77.0.2', node3: '10.77.0.3' } as const;
const bootLimitMs = 400_000;
const diskSize = '2G';

/** Boots a guest for a test file; skipped, or failed, where that is not possible. It is gone after the teardown. */
export async function openGuest(
  t: Test,
  { limitMs = 600_000, memoryMib = 1024, swarm = false }: GuestLayout = {},
): Promise<Guest> {
  t.setTimeout(limitMs);
  await engineOrSkip(t);
  const signal = AbortSignal.timeout(limitMs - 10_000);
  const progress = (line: string) => t.comment(line);
  await toolsOrSkip(t, progress, signal);
  const assetsDir = join(import.meta.dirname, '..', '..', '..');
  const parts = await ensureDisk(assetsDir, progress, signal);
  const startedMs = Date.now();
  const work = await mkdtemp(join(tmpdir(), 'sf-guest-'));
  const machine = await boot(parts, work, memoryMib, signal);
  const node = new SshNode(machine.target);
  t.teardown(async () => {
    node.close();
    await machine.power.off('node1', AbortSignal.timeout(10_000));
    await rm(work, { recursive: true, force: true });
  });
  await logIn(node, machine, signal);
  progress(`the guest has booted after ${Math.round((Date.now() - startedMs) / 1000)} s`);

  const handles: Readonly<Record<string, NodeHandle>> = swarm
    ? { node1: node, outside: outside(machine.target) }
    : { node1: node, node2: peer(node, 'node2'), node3: peer(node, 'node3') };
  const nodeOf = (name: string) => {
    const handle = handles[name];
    if (!handle) throw new Error(`the guest has no ${name}`);
    return handle;
  };
  const on = async (name: string, script: string, ...args: string[]) => {
    const { code, stdout, stderr } = await nodeOf(name).exec(script, args, {}, signal);
    if (code !== 0) throw new Error(`${name}: ${script} ended with ${code}: ${stderr}`);
    return stdout.trim();
  };
  const tasks: TaskTarget[] = [];
  const inventory = async (): Promise<Inventory> => {
    const services = tasks.map((task) => ({
      ...{ name: task.service, id: `id-of-${task.service}`, replicated: true, labels: {}, tasks: [task] },
    }));
    if (!swarm) return { nodes: [], services };
    const { docker, close } = await dockerOver(node, undefined, signal);
    try {
      return await gatherInventory(swarmGateway(docker), signal);
    } finally {
      close();
    }
  };
  const nodes = async (name: string) => nodeOf(name);
  const facts = async (targets: readonly Target[]) =>
    gatherFacts(targets, await inventory(), { nodeNames: Object.keys(handles), nodes }, signal);
  const scripts = await loadScripts(join(assetsDir, 'state-machines'));
  const { power } = machine;
  const ports: StepPorts = { clock: systemClock, scripts, nodes, power };
  if (swarm) await on('node1', startSwarmScript, peers.node1, OVERLAY_POOL);
  return {
    ...{ scripts, ports, power, signal, on, inventory, facts },
    node: nodeOf,
    async startProcess(script = 'exec sleep 3600') {
      const containerId = randomBytes(32).toString('hex');
      const number = tasks.length + 1;
      const address = `10.99.1.${number + 1}/24`;
      await on('node1', startProcessScript, containerId, script, `c${number}`, address);
      const task = { kind: 'task' as const, node: 'node1', service: `s${number}`, taskId: `t${number}` };
      tasks.push({ ...task, containerId, addresses: [address] });
      return tasks.at(-1)!;
    },
    run: faultRuns({ cluster: 'guest', ports, facts, signal }),
    ...faultSteps({ ports, facts, signal }),
    async until(what, withinMs, holds) {
      const deadlineMs = Date.now() + withinMs;
      while (!(await holds())) {
        if (Date.now() > deadlineMs) throw new Error(`not within ${withinMs} ms: ${what}`);
        await systemClock.sleep(200, signal);
      }
    },
  };
}

/** $1 id  $2 script  $3 name of its interface outside  $4 its address */
const startProcessScript = `
ip link show overlay >/dev/null 2>&1 || { ip link add overlay type bridge; ip link set overlay up; }
systemd-run --quiet --unit="docker-$1" --property=Delegate=yes --property=MemoryMax=256M \\
  --property=KillSignal=SIGKILL unshare --pid --fork --net --mount-proc --kill-child \\
  sh -c 'until ip link set eth0 up 2>/dev/null; do sleep 0.1; done; ip link set lo up; eval "$1"' sh "$2"
until pid=$(grep -lsF "$1" /proc/[0-9]*/cgroup | cut -d/ -f3 | while read -r pid; do
  grep -qsE '^NSpid:[[:space:]]+[0-9]+[[:space:]]+1$' "/proc/$pid/status" && echo "$pid" && break; done); [ -n "$pid" ]
do sleep 0.1; done
ip link add "$3" master overlay type veth peer name eth0 netns "$pid"
ip link set "$3" up
nsenter -t "$pid" -n sh -c 'ip addr add "$1" dev eth0; until ip link show eth0 | grep -q "state UP"; do sleep 0.1; done' sh "$4"`;

/** $1 its address  $2 where overlay networks are taken from. The engine comes back by itself after a loss of power. */
const startSwarmScript = `
systemctl enable --now --quiet docker.service docker.socket containerd.service
docker swarm init --advertise-addr "$1" --default-addr-pool "$2" --default-addr-pool-mask-length 24 >/dev/null`;

/**
 * This computer, as a machine that sees the guest from outside: the guest's sshd is behind a port of its own here. The
 * emulator accepts there whatever the guest does, so only what sshd itself says, in its own time, is an answer.
 */
function outside({ host, port }: SshTarget): NodeHandle {
  const heard = `exec 3<>"/dev/tcp/${host}/${port}" && head -c 1 <&3 | grep -q .`;
  const ofGuest = (text: string) =>
    text.replace('timeout 2 bash', 'timeout 4 bash').replace('exec 3<>"/dev/tcp/$1/22"', heard);
  return {
    ...{ name: 'outside', address: '10.0.2.2' },
    async exec(script, args, { stdin = '' }, signal) {
      const child = spawn('sh', ['-c', script, 'sh', ...args], { stdio: 'pipe', signal });
      child.stdin.end(ofGuest(String(stdin)));
      // At once: an abort ends all three, and none of them unheard.
      const ended = [once(child, 'close'), text(child.stdout), text(child.stderr)] as const;
      const [[code], stdout, stderr] = await Promise.all(ended);
      return { code: code as number | null, signal: null, stdout, stderr };
    },
    dial: () => Promise.reject(new Error('nothing of this computer is dialled')),
    controllerAddress: async () => '10.0.2.2',
    close: () => {},
  };
}

/** A name space of the guest, as a machine: its scripts run there. */
function peer(node: NodeHandle, name: keyof typeof peers): NodeHandle {
  const enter = 'name=$1 script=$2; shift 2; exec ip netns exec "$name" sh -c "$script" sh "$@"';
  return {
    ...{ name, address: peers[name] },
    exec: (script, args, options, signal) => node.exec(enter, [name, script, ...args], options, signal),
    dial: () => Promise.reject(new Error(`${name} is only a name space`)),
    controllerAddress: (signal) => node.controllerAddress(signal),
    close: () => {},
  };
}

/** The emulator and the maker of file systems; without them the test ends here, with the reason. */
async function toolsOrSkip(t: Test, progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  const needed = [
    { file: '/usr/bin/qemu-system-x86_64', name: 'qemu-system-x86' },
    { file: '/usr/sbin/mke2fs', name: 'e2fsprogs' },
  ];
  const found = await Promise.all(
    needed.map(({ file }) =>
      access(file).then(
        () => true,
        () => false,
      ),
    ),
  );
  const missing = needed.filter((_, index) => !found[index]).map(({ name }) => name);
  if (missing.length === 0) return;
  const reason = whyNoPackages(missing, await gatherPackageFacts());
  if (reason === null) return installPackages(missing, progress, signal);
  if (process.env.CI) return t.bailout(`no emulator, and CI is set: ${reason}`);
  process.stdout.write(`# SKIPPED: THE GUEST DID NOT RUN. ${reason}\n`);
  process.exit(0);
}

interface BootParts {
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
}

/** The guest's disk, made once from the node's image; the machines that boot from it never write to it. */
async function ensureDisk(
  assetsDir: string,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<BootParts> {
  const cacheDir = join(assetsDir, '.cache');
  const context = join(assetsDir, 'test', 'support', 'guest');
  const parent = (await resolveImageNames(assetsDir)).get('node') ?? '';
  const files = await Promise.all(['Dockerfile', 'init.sh'].map((file) => readFile(join(context, file))));
  const hash = createHash('sha256').update(parent).update(Buffer.concat(files)).digest('hex').slice(0, 8);
  const dir = join(cacheDir, 'guest', hash);
  const parts = { ...{ disk: join(dir, 'disk'), kernel: join(dir, 'kernel') }, initrd: join(dir, 'initrd') };
  if (
    await access(parts.disk).then(
      () => true,
      () => false,
    )
  )
    return parts;
  await ensureImages([parent], { assetsDir, cacheDir, progress }, signal);
  const tag = `spark-failures/guest:${hash}`;
  if ((await inspectImage(tag, signal)) === null) {
    progress(`building ${tag}`);
    const [buildArgs, labels] = [[`PARENT=${parent}`], [`${RECIPE_LABEL}=${hash}`]];
    await buildImage({ tag, context, buildArgs, labels }, signal);
  }
  await mkdir(join(cacheDir, 'guest'), { recursive: true });
  const making = await mkdtemp(join(cacheDir, 'guest', 'making-'));
  try {
    await makeDisk(tag, making, signal);
    await rename(making, dir).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // made by another meanwhile
    });
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return parts;
}

async function makeDisk(tag: string, dir: string, signal: AbortSignal): Promise<void> {
  const root = join(dir, 'root');
  await mkdir(root);
  const container = await runCommand('docker', ['create', tag, 'none'], {}, signal);
  try {
    const unpack = 'set -e; docker export "$1" | tar -x -C "$2"; rm -f "$2/.dockerenv"';
    await runCommand('bash', ['-o', 'pipefail', '-c', unpack, 'bash', container, root], {}, signal);
  } finally {
    await runCommand('docker', ['rm', container], {}, signal);
  }
  const bootFiles = await readdir(join(root, 'boot'));
  for (const [prefix, name] of [
    ['vmlinuz-', 'kernel'],
    ['initrd.img-', 'initrd'],
  ] as const) {
    const file = bootFiles.find((each) => each.startsWith(prefix));
    if (!file) throw new Error(`${tag} has no /boot/${prefix}*`);
    await rename(join(root, 'boot', file), join(dir, name));
  }
  // In their place an engine has bound files of its own.
  await writeFile(join(root, 'etc', 'resolv.conf'), '');
  await runCommand('mke2fs', ['-q', '-t', 'ext4', '-d', root, join(dir, 'disk'), diskSize], {}, signal);
  await rm(root, { recursive: true });
}

interface GuestMachine {
  readonly target: SshTarget;
  /** Where it says what it does while it boots. */
  readonly console: string;
  readonly power: NodeSwitch;
  isOff(): boolean;
}

/** A copy of the disk, and a processor that can be ended and started again; the first time it is on at the end. */
async function boot(
  parts: BootParts,
  work: string,
  memoryMib: number,
  signal: AbortSignal,
): Promise<GuestMachine> {
  const [host, client] = [generateKeyPair('guest'), generateKeyPair('test')];
  const port = await freePort();
  const [console, disk] = [join(work, 'console'), join(work, 'disk')];
  await runCommand('cp', ['--sparse=always', '--reflink=auto', parts.disk, disk], {}, signal);
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const keys = `sf.host_key=${base64(host.privateKey)} sf.authorized_key=${base64(client.publicKey)}`;
  const args = [
    ...['-accel', 'tcg,thread=multi', '-machine', 'q35', '-cpu', 'max', '-smp', '2', '-m', String(memoryMib)],
    ...['-nodefaults', '-display', 'none', '-serial', `file:${console}`],
    ...['-drive', `file=${disk},format=raw,if=virtio`],
    ...['-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${port}-:22`, '-device', 'virtio-net-pci,netdev=net'],
    ...['-kernel', parts.kernel, '-initrd', parts.initrd],
    '-append',
    // While a kernel patches its own code on two emulated processors one of them may, on a busy host, meet the trap that
    // guards the spot and take it for a fault: such a boot is begun anew.
    `root=/dev/vda rw init=/init.sh console=ttyS0 net.ifnames=0 mitigations=off random.trust_cpu=on panic=-1 ${keys}`,
  ];
  const start = () =>
    spawn('qemu-system-x86_64', args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  const isOff = () => child.exitCode !== null || child.signalCode !== null;
  let child = start();
  let due: NodeJS.Timeout | undefined;
  const power: NodeSwitch = {
    async off() {
      clearTimeout(due);
      if (isOff()) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
    async on() {
      clearTimeout(due);
      if (!isOff()) return;
      child = start();
      if (child.pid !== undefined) await hurry(child.pid);
    },
    async offUntil(name, untilMs, within) {
      await power.off(name, within);
      due = setTimeout(() => void power.on(name, signal), Math.max(0, untilMs - Date.now()));
    },
  };
  if (child.pid !== undefined) await hurry(child.pid);
  const target = {
    ...{ name: 'node1', address: peers.node1, host: '127.0.0.1', port, user },
    ...{ privateKey: client.privateKey, hostKey: pinOf(host.publicKey), readyTimeoutMs: 60_000 },
  };
  return { target, console, power, isOff };
}

/**
 * Time is what is measured in there: what else this machine does must not count. In a session of its own a process is
 * only first among others when its session is (autogroup); neither is possible for everybody.
 */
async function hurry(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/autogroup`, '-10').catch(() => undefined);
  try {
    setPriority(pid, -10);
  } catch {} // as fast as may be
}

/** Its port answers from the first moment, and hangs up until an sshd listens behind it. */
async function logIn(node: SshNode, { console, isOff }: GuestMachine, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(bootLimitMs)]);
  for (;;) {
    try {
      return await node.connect(limit);
    } catch (error) {
      if (limit.aborted || isOff()) {
        const said = await readFile(console, 'utf8').catch(() => '');
        throw new Error(`the guest did not boot: ${said.slice(-2000)}`, { cause: error });
      }
    }
    await systemClock.sleep(200, limit);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
