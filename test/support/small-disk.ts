import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of 1 MiB; undefined where that is not allowed. */
export function mountSmallDisk(): string | undefined {
  const disk = mkdtempSync(join(tmpdir(), 'spark-failures-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk], { stdio: 'ignore' });
    return disk;
  } catch {
    rmdirSync(disk);
    return undefined;
  }
}

/** Leaves no space on it; gives the file that has it. */
export function fill(disk: string): string {
  const filler = join(disk, 'filler');
  execFileSync('sh', ['-c', `head -c 10m /dev/zero > "$1" 2>/dev/null || true`, 'sh', filler]);
  return filler;
}

export function unmount(disk: string): void {
  execFileSync('umount', [disk]);
  rmdirSync(disk);
}
