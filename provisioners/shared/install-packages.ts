import { access } from 'node:fs/promises';
import { ProvisionError } from '../contract.ts';
import { runCommand } from './run-command.ts';

/** What decides whether Debian packages can be installed on this machine. */
export interface PackageFacts {
  readonly root: boolean;
  readonly apt: boolean;
}

/** Looks at this machine. */
export async function gatherPackageFacts(): Promise<PackageFacts> {
  const apt = await access('/usr/bin/apt-get').then(
    () => true,
    () => false,
  );
  return { root: process.getuid?.() === 0, apt };
}

/** Why packages cannot be installed here, as a person should read it; null when they can be. */
export function whyNoPackages(packages: readonly string[], facts: PackageFacts): string | null {
  const wanted = packages.join(', ');
  if (!facts.apt)
    return `${wanted} missing, and this is no Debian or Ubuntu (no apt-get): install it by hand`;
  if (!facts.root)
    return `${wanted} missing, and only root may install it: apt-get install ${packages.join(' ')}`;
  return null;
}

/** Installs Debian packages on this machine, waiting for whoever else is installing; says so first. */
export async function installPackages(
  packages: readonly string[],
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const problem = whyNoPackages(packages, await gatherPackageFacts());
  if (problem !== null) throw new ProvisionError([problem]);
  progress(`installing Debian packages: ${packages.join(' ')}`);
  const apt = (...words: string[]) =>
    runCommand('flock', [...LOCKED, 'apt-get', ...APT_OPTIONS, ...words], {}, signal);
  await apt('update');
  await apt('install', '--no-install-recommends', ...packages);
}

/** Its own lock has apt wait for none but dpkg: whoever reads the lists meanwhile makes `update` fail. `-F`: no child. */
const LOCKED = ['-F', '-w', '300', '/run/lock/spark-failures-apt'] as const;

const APT_OPTIONS = [
  '--quiet',
  '--assume-yes',
  '--option=DPkg::Lock::Timeout=300',
  '--option=Dpkg::Options::=--force-confold',
] as const;
