import type { Manifest } from '../../crds/manifest.ts';
import { ManifestError } from '../../crds/problem.ts';
import { systemClock } from '../clock.ts';
import type { Operator } from '../operator.ts';
import type { LoadedFile } from '../source/load-manifest.ts';
import { readManifests } from '../source/read-manifests.ts';
import type { StoredResource } from '../source/resource-store.ts';

/** Which manifests a verb is about. */
export interface FileOptions {
  readonly files: readonly string[];
  readonly recursive: boolean;
  /** Added to every resource that they hold. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Brings the named manifests into the operator's store and gives their resources. What they lack is not missing: only
 * a watched folder says that. Throws a ManifestError with all problems at once.
 */
export async function readFiles(
  { store, load }: Operator,
  { files: named, recursive, annotations = {} }: FileOptions,
  signal: AbortSignal,
): Promise<readonly StoredResource[]> {
  const listing = await readManifests(named, { load, recursive, clock: systemClock }, signal);
  const files = listing.files.map((file) => annotated(file, annotations));
  store.update({ ...listing, files, complete: false });
  const keys = listing.files.flatMap(({ documents }) => documents.map(({ key }) => key));
  const found = [...new Set(keys)].flatMap((key) => store.get(key) ?? []);
  const problems = [
    ...listing.problems,
    ...listing.files.flatMap((file) => file.problems),
    ...found.flatMap((stored) => stored.problems),
  ];
  if (problems.length > 0) throw new ManifestError([...new Set(problems)]);
  return found;
}

function annotated(file: LoadedFile, annotations: Readonly<Record<string, string>>): LoadedFile {
  const annotate = <R extends Manifest>(resource: R): R => ({
    ...resource,
    metadata: { ...resource.metadata, annotations: { ...resource.metadata.annotations, ...annotations } },
  });
  const documents = file.documents.map((document) => ({
    ...document,
    resource: annotate(document.resource),
  }));
  return { ...file, documents };
}
