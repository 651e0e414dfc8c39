import { mkdtempSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureImages } from '../../compose/images/ensure-images.ts';
import { resolveImageNames } from '../../compose/images/resolve-images.ts';
import { ensureLocalEngine } from '../../provisioners/shared/install-engine.ts';
import { runCommand } from '../../provisioners/shared/run-command.ts';
import { packageRoot } from '../support/examples.ts';
import type { Reading } from './figure.ts';

/** What every measurement gets. */
export interface BenchSite {
  /** Root of the built package. */
  readonly packageRoot: string;
  readonly cacheDir: string;
  /** For state, manifests and logs; goes away when all went well. */
  readonly workDir: string;
  /** Full name of each image of the catalogue by its short one. */
  readonly images: ReadonlyMap<string, string>;
  /** How often to measure, instead of as often as the figure's definition says. */
  readonly runs: number | undefined;
  /** Of machines that one kind is measured on side by side, one unless asked for. */
  readonly lanes: number;
  /** Whether anybody asked for the figure: what nobody asked for need not be measured. */
  readonly isWanted: (figure: string) => boolean;
  /** One line for people. */
  readonly progress: (line: string) => void;
}

type Asked = Pick<BenchSite, 'runs' | 'lanes' | 'isWanted' | 'progress'>;

/** For what needs nothing but Node. */
export function bareSite(asked: Asked): BenchSite {
  const cacheDir = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'spark-failures');
  const workDir = mkdtempSync(join(tmpdir(), 'spark-failures-bench-'));
  return { packageRoot, cacheDir, workDir, images: new Map(), ...asked };
}

/** Makes everything ready that is no part of any figure: what has to be installed, built or pulled. */
export async function openSite(asked: Asked, signal: AbortSignal): Promise<BenchSite> {
  const { progress } = asked;
  const site = bareSite(asked);
  const { cacheDir } = site;
  const images = await resolveImageNames(packageRoot);
  await ensureLocalEngine(progress, signal);
  await ensureImages([...images.values()], { assetsDir: packageRoot, cacheDir, progress }, signal);
  return { ...site, images };
}

/** Measures one or more figures that come from the same runs; rejects when that cannot be done. */
export type Measure<Name extends string> = (
  site: BenchSite,
  signal: AbortSignal,
) => Promise<Readonly<Record<Name, Reading>>>;

/** The host's docker command, as anybody would call it. */
export const docker = (args: readonly string[], signal: AbortSignal): Promise<string> =>
  runCommand('docker', args, {}, signal);

export interface Wait {
  readonly what: string;
  readonly everyMs: number;
  readonly deadlineMs: number;
}

/** Looks until there is something to see; rejects after the deadline with what was awaited. */
export async function until<T>(
  { what, everyMs, deadlineMs }: Wait,
  look: () => Promise<T | undefined> | T | undefined,
  signal: AbortSignal,
): Promise<T> {
  const startMs = performance.now();
  for (;;) {
    const lookedMs = performance.now();
    const seen = await look();
    if (seen !== undefined) return seen;
    if (lookedMs - startMs > deadlineMs) throw new Error(`${what}: not within ${deadlineMs / 1000} s`);
    await sleep(Math.max(0, everyMs - (performance.now() - lookedMs)), undefined, { signal });
  }
}
