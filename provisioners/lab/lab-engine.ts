import type Docker from 'dockerode';
import { ProvisionError } from '../contract.ts';

/** What the local engine can do, read from itself rather than assumed. */
export interface LabEngine {
  readonly cpus: number;
  /** False where containers live in a virtual machine or a user namespace: then sshd is published to loopback. */
  readonly reachable: boolean;
}

interface EngineInfo {
  readonly NCPU: number;
  readonly OSType: string;
  readonly OperatingSystem: string;
  readonly Driver: string;
  readonly SecurityOptions: readonly string[] | null;
}

/** Reads the engine's abilities; refuses, with all reasons at once, one that cannot carry machines. */
export const readLabEngine = async (docker: Docker): Promise<LabEngine> => {
  const info = (await docker.info()) as EngineInfo;
  const rootless = (info.SecurityOptions ?? []).some((option) => option.includes('rootless'));
  const virtual = process.platform !== 'linux' || info.OperatingSystem.includes('Docker Desktop');
  const problems = [
    ...(info.OSType === 'linux'
      ? []
      : [`the local engine runs ${info.OSType} containers, the lab needs Linux ones`]),
    ...(virtual
      ? ['the lab needs an engine on this very Linux machine: it shares image layers with it']
      : []),
    ...(process.getuid?.() === 0
      ? []
      : ['the lab must run as root: it owns the image stores of its machines']),
  ];
  if (problems.length > 0) throw new ProvisionError(problems);
  return { cpus: info.NCPU, reachable: !rootless };
};
