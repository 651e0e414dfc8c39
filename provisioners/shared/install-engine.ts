import { spawn } from 'node:child_process';
import { access, open, readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ProvisionError } from '../contract.ts';
import { gatherPackageFacts, installPackages, type PackageFacts, whyNoPackages } from './install-packages.ts';
import { runCommand } from './run-command.ts';

/** What decides how this machine comes to a running engine. */
export interface EngineFacts extends PackageFacts {
  /** What the engine's socket answers: its version, a refusal of this user, or nothing. */
  readonly engine: { readonly version: string } | 'forbidden' | 'silent';
  /** Path of dockerd; null when it is not installed. */
  readonly daemon: string | null;
  /** Path of the docker client; null when it is not installed. */
  readonly client: string | null;
  /** systemd is process 1. */
  readonly systemd: boolean;
}

/** The next thing to do, after which the facts are to be gathered again. */
export type EngineStep =
  | { readonly do: 'nothing'; readonly version: string }
  | { readonly do: 'install'; readonly package: 'docker.io' | 'docker-cli' }
  | { readonly do: 'start'; readonly by: 'systemctl' | 'dockerd' }
  | { readonly do: 'give up'; readonly problem: string };

/**
 * Decides what this machine needs next for a running engine and its client. The client is asked for by itself because
 * Debian 13 took it out of docker.io, where earlier releases and Ubuntu have it.
 */
export function planEngineInstall(facts: EngineFacts): EngineStep {
  if (facts.engine === 'forbidden') {
    return { do: 'give up', problem: FORBIDDEN };
  }
  if (facts.engine === 'silent' && facts.daemon === null) return installStep('docker.io', facts);
  if (facts.client === null) return installStep('docker-cli', facts);
  if (facts.engine !== 'silent') return { do: 'nothing', version: facts.engine.version };
  if (!facts.root)
    return { do: 'give up', problem: 'the Docker engine is not running, and only root may start it' };
  return { do: 'start', by: facts.systemd ? 'systemctl' : 'dockerd' };
}

function installStep(name: 'docker.io' | 'docker-cli', facts: PackageFacts): EngineStep {
  const problem = whyNoPackages([name], facts);
  return problem === null ? { do: 'install', package: name } : { do: 'give up', problem };
}

/**
 * Makes sure that a Docker engine runs on this machine and that its client is there: installed by apt and started
 * where need be, each change announced. Rejects with a ProvisionError that says what is missing.
 */
export async function ensureLocalEngine(
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<{ installed: boolean; started: boolean; version: string }> {
  const done: EngineStep['do'][] = [];
  for (;;) {
    const facts = await gatherFacts(signal);
    const step = planEngineInstall(facts);
    if (step.do === 'give up') throw new ProvisionError([step.problem]);
    if (step.do === 'nothing') {
      return { installed: done.includes('install'), started: done.includes('start'), version: step.version };
    }
    if (done.length >= MOST_STEPS)
      throw new ProvisionError([`the Docker engine is still missing after: ${done.join(', ')}`]);
    if (step.do === 'install') await installPackages([step.package], progress, signal);
    else if (step.by === 'systemctl') await startBySystemd(progress, signal);
    else await startByHand(facts.daemon!, progress, signal);
    done.push(step.do);
  }
}

/** Whether an engine answers here now; rejects with a ProvisionError when one does that refuses this user. */
export async function isEngineAnswering(signal: AbortSignal): Promise<boolean> {
  const engine = await askEngine(signal);
  if (engine === 'forbidden') throw new ProvisionError([FORBIDDEN]);
  return engine !== 'silent';
}

/** Starts an engine that is installed here and does not run; false where none is installed. */
export async function startInstalledEngine(
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const { engine, daemon } = await gatherFacts(signal);
  if (engine === 'silent' && daemon === null) return false;
  await ensureLocalEngine(progress, signal);
  return true;
}

const FORBIDDEN = 'the Docker engine refuses this user: run as root, or join the group docker';
/** Engine, client, start. */
const MOST_STEPS = 3;
const SOCKET = '/var/run/docker.sock';
const LOG_FILE = '/var/log/dockerd.log';
const READY_WITHIN_MS = 60_000;
const ASK_EVERY_MS = 200;
const versionSchema = z.object({ Version: z.string() });

async function gatherFacts(signal: AbortSignal): Promise<EngineFacts> {
  const [packageFacts, engine, daemon, client, systemd] = await Promise.all([
    gatherPackageFacts(),
    askEngine(signal),
    findProgram('dockerd', signal),
    findProgram('docker', signal),
    access('/run/systemd/system').then(
      () => true,
      () => false,
    ),
  ]);
  return { ...packageFacts, engine, daemon, client, systemd };
}

async function findProgram(name: string, signal: AbortSignal): Promise<string | null> {
  const look = 'PATH=$PATH:/usr/local/sbin:/usr/sbin; command -v "$1" || true';
  return (await runCommand('sh', ['-c', look, 'sh', name], {}, signal)) || null;
}

/** Asks the engine on the unix socket for its version, whatever DOCKER_HOST says. */
async function askEngine(signal: AbortSignal): Promise<EngineFacts['engine']> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: SOCKET, path: '/version', signal }, (response) => {
      json(response)
        .then((answer) => resolve({ version: versionSchema.parse(answer).Version }))
        .catch(() => resolve('silent'));
    });
    call.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(signal.reason as Error);
      else resolve(error.code === 'EACCES' ? 'forbidden' : 'silent');
    });
    call.end();
  });
}

async function startBySystemd(progress: (line: string) => void, signal: AbortSignal): Promise<void> {
  progress('starting the Docker engine: systemctl enable --now docker');
  await runCommand('systemctl', ['enable', '--now', 'docker'], {}, signal);
  await untilReady(() => null, signal);
}

/** Where no service manager runs: a daemon that outlives this process, with its output in a file. */
async function startByHand(
  daemon: string,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  progress(`starting the Docker engine: ${daemon}, log in ${LOG_FILE}`);
  const log = await open(LOG_FILE, 'a');
  const child = spawn(daemon, [], { detached: true, stdio: ['ignore', log.fd, log.fd] });
  let end: string | null = null;
  child.once('error', (error) => {
    end = error.message;
  });
  child.once('exit', (code, name) => {
    end = `it ended with ${name ?? `exit status ${code}`}`;
  });
  child.unref();
  try {
    await untilReady(() => end, signal);
  } finally {
    await log.close();
  }
}

async function untilReady(whyEnded: () => string | null, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while ((await askEngine(signal)) === 'silent') {
    const late = performance.now() > deadline ? `it did not answer within ${READY_WITHIN_MS / 1000} s` : null;
    const problem = whyEnded() ?? late;
    if (problem !== null)
      throw new ProvisionError([`the Docker engine did not start: ${problem}\n${await lastLogLines()}`]);
    await sleep(ASK_EVERY_MS, undefined, { signal });
  }
}

async function lastLogLines(): Promise<string> {
  const text = await readFile(LOG_FILE, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-5).join('\n');
}
