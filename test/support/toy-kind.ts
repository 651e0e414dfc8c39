import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const copied = [
  ...['controller', 'crds', 'state-machines', 'provisioners', 'manifests', 'compose', 'test', 'dist'],
  ...['package.json', 'tsconfig.json', 'README.md', 'CONTRIBUTING.md', '.taprc'],
];

/** A copy of this package to which the fault kind that CONTRIBUTING.md shows was added. */
export interface ToyPackage {
  readonly root: string;
  /** The files that were added or changed by hand, below the root. */
  readonly touched: readonly string[];
  /** Standard output of node in the copy's root; rejects when it fails. */
  node(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
  remove(): Promise<void>;
}

/** Takes the files out of CONTRIBUTING.md as they stand there, and builds. Runs in the package's root. */
export async function addToyKind(): Promise<ToyPackage> {
  const root = await mkdtemp(join(tmpdir(), 'sf-toy-'));
  for (const name of copied)
    await cp(name, join(root, name), { recursive: true, preserveTimestamps: true, force: true });
  await symlink(join(process.cwd(), 'node_modules'), join(root, 'node_modules'));
  const guide = await readFile('CONTRIBUTING.md', 'utf8');
  const shown = [...guide.matchAll(/^`([\w./-]+)`\n```\w+\n(.*?)^```$/gms)].map(
    ([, path = '', text = '']) => ({
      ...{ path, text },
    }),
  );
  for (const { path, text } of shown) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const catalog = 'state-machines/faults/catalog.ts';
  const before = await readFile(catalog, 'utf8');
  await writeFile(
    join(root, catalog),
    `import { lowPriority } from './priority/fault.ts';\n${before.replace('[] = [', '[] = [\n  lowPriority,')}`,
  );
  const node: ToyPackage['node'] = async (args, env = {}) => {
    const { stdout } = await run(process.execPath, args, {
      ...{ cwd: root, env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 },
    });
    return stdout;
  };
  await node(['node_modules/typescript/bin/tsc']);
  return {
    ...{ root, node, touched: [...shown.map(({ path }) => path), catalog] },
    remove: () => rm(root, { recursive: true, force: true }),
  };
}
