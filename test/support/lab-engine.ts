import type { Test } from 'tap';
import { ensureLocalEngine } from '../../provisioners/shared/install-engine.ts';

/**
 * Makes sure that a Docker engine runs on this machine, installing it where that is possible. Without one a lab test
 * has nothing to stand on: it ends here, loudly, with the reason; where CI is set that is a failure.
 */
export async function engineOrSkip(t: Test): Promise<void> {
  try {
    const { version } = await ensureLocalEngine((line) => t.comment(line), AbortSignal.timeout(300_000));
    t.pass(`engine ${version}`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (process.env.CI) return t.bailout(`no Docker engine, and CI is set: ${reason}`);
    process.stdout.write(`# SKIPPED: THE LAB DID NOT RUN. No Docker engine: ${reason}\n`);
    process.exit(0);
  }
}
