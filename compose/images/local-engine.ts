import { z } from 'zod';
import { messageOf, ProvisionError } from '../../provisioners/contract.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';

/** What is known of an image that an engine holds. */
export interface PresentImage {
  readonly id: string;
  /** Hash of the recipe that it was built from; null when we did not build it. */
  readonly recipe: string | null;
}

/** Label that holds an image's content hash. */
export const RECIPE_LABEL = 'spark-failures.io/recipe';
/** Label of an image that bears an official name without being the official image. */
export const STAND_IN_LABEL = 'spark-failures.io/stand-in';

/** A registry answers within this, or it is taken for absent. */
const FIRST_ANSWER_MS = 10_000;
/** The named engine whatever DOCKER_HOST says, and its own builder: apt's docker.io brings no other. */
const DOCKER = ['DOCKER_BUILDKIT=0', 'docker', '--host', 'unix:///var/run/docker.sock'] as const;

/** Rejects with a ProvisionError unless this machine's engine answers, so that not every image tells the same. */
export async function requireEngine(signal: AbortSignal): Promise<void> {
  try {
    await docker(['version'], signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw new ProvisionError([`no Docker engine to hold images: ${messageOf(cause)}`], { cause });
  }
}

const inspectionSchema = z.tuple([
  z.object({
    Id: z.string(),
    Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
  }),
]);

/** The image that this machine's engine holds under a name; null when it holds none. */
export async function inspectImage(tag: string, signal: AbortSignal): Promise<PresentImage | null> {
  if ((await docker(['image', 'ls', '--quiet', tag], signal)) === '') return null;
  const [image] = inspectionSchema.parse(JSON.parse(await docker(['image', 'inspect', tag], signal)));
  return { id: image.Id, recipe: image.Config?.Labels?.[RECIPE_LABEL] ?? null };
}

/** Resolves to whether the image was pulled; gives up when the registry says nothing for some seconds. */
export async function pullImage(tag: string, signal: AbortSignal): Promise<boolean> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), FIRST_ANSWER_MS);
  try {
    const args = [...DOCKER, 'pull', tag];
    await runCommand(
      'env',
      args,
      { onLine: () => clearTimeout(timer) },
      AbortSignal.any([signal, silence.signal]),
    );
    return true;
  } catch {
    signal.throwIfAborted();
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/** Builds a folder with a Dockerfile into an image; resolves to its id. */
export async function buildImage(
  build: {
    readonly tag: string;
    readonly context: string;
    readonly buildArgs: readonly string[];
    readonly labels: readonly string[];
  },
  signal: AbortSignal,
): Promise<string> {
  const labels = build.labels.flatMap((label) => ['--label', label]);
  const buildArgs = build.buildArgs.flatMap((arg) => ['--build-arg', arg]);
  return docker(
    ['build', '--quiet', '--force-rm', ...labels, ...buildArgs, '--tag', build.tag, build.context],
    signal,
  );
}

async function docker(args: readonly string[], signal: AbortSignal): Promise<string> {
  return (await runCommand('env', [...DOCKER, ...args], {}, signal)).trim();
}

/** Removes every image that was built from a recipe, of whatever version, and those of the given names. */
export async function removeImages(tags: readonly string[], signal: AbortSignal): Promise<void> {
  const built = await docker(
    ['image', 'ls', '--quiet', '--all', '--filter', `label=${RECIPE_LABEL}`],
    signal,
  );
  const named = await Promise.all(tags.map(async (tag) => ((await inspectImage(tag, signal)) ? [tag] : [])));
  const all = [...new Set([...named.flat(), ...built.split('\n').filter((id) => id !== '')])];
  if (all.length === 0) return;
  // A child that is still there, or another tag of the same image, must not keep the rest.
  await docker(['image', 'rm', '--force', ...all], signal).catch(() => undefined);
}
