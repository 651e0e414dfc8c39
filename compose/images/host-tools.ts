import pLimit from 'p-limit';
import { installPackages } from '../../provisioners/shared/install-packages.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';

const TOOLS = {
  gpg: { probe: ['gpg', '--version'], packages: ['gnupg'] },
  maven: { probe: ['mvn', '--version'], packages: ['maven'] },
  mmdebstrap: { probe: ['mmdebstrap', '--version'], packages: ['mmdebstrap', 'debian-archive-keyring'] },
  pip: { probe: ['python3', '-m', 'pip', '--version'], packages: ['python3', 'python3-pip'] },
} as const;

/** A program that must be on this machine to download, to build, or to try what signs. */
export type HostTool = keyof typeof TOOLS;

/** Resolves when the tool can be run. */
export type EnsureTool = (tool: HostTool, signal: AbortSignal) => Promise<void>;

/** Looks for each tool once and installs what is missing, one after the other, as apt demands. */
export function createEnsureTool(progress: (line: string) => void): EnsureTool {
  const looked = new Map<HostTool, Promise<void>>();
  const oneAtATime = pLimit(1);
  return (tool, signal) => {
    const looking = looked.get(tool) ?? oneAtATime(() => findOrInstall(tool, progress, signal));
    looked.set(tool, looking);
    return looking;
  };
}

async function findOrInstall(
  tool: HostTool,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { probe, packages } = TOOLS[tool];
  const [file, ...args] = probe;
  try {
    await runCommand(file, args, {}, signal);
  } catch {
    signal.throwIfAborted();
    await installPackages(packages, progress, signal);
  }
}
