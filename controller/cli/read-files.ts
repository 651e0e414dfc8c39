import type { Manifest } from '../../crds/manifest.ts';
import { ManifestError, type Problem } from '../../crds/problem.ts';
import { systemClock } from '../clock.ts';
import type { Operator } from '../operator.ts';
import type { LoadedFile } from '../source/load-manifest.ts';
import { readManifests } from '../source/read-manifests.ts';
import { ResourceStore, type StoredResource, type StoreListing } from '../source/resource-store.ts';

/** Which manifests a verb is about. */
export interface FileOptions {
  readonly files: readonly string[];
  readonly recursive: boolean;
  /** Added to every resource that they hold. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Asks for the deletion of every resource that they hold. */
  readonly forDeletion?: boolean;
}

/**
 * Brings the named manifests into the operator's store and gives their resources. What they lack is not missing: only
 * a watched folder says that. Throws a ManifestError with all problems at once.
 */
export async function readFiles(
  { store, load }: Operator,
  { files: named, recursive, annotations = {}, forDeletion = false }: FileOptions,
  signal: AbortSignal,
): Promise<readonly StoredResource[]> {
  const read = await readManifests(named, { load, recursive, clock: systemClock }, signal);
  const files = read.files.map((file) => annotated(file, annotations));
  const listing: StoreListing = { ...read, files, complete: false };
  const problems = forDeletion ? ownProblems(listing) : allProblems(listing, store);
  if (problems.length > 0) throw new ManifestError(problems);
  store.update(listing);
  const keys = new Set(files.flatMap(({ documents }) => documents.map(({ key }) => key)));
  // In the same breath, so that no pass can begin to make what is to go.
  if (forDeletion) for (const key of keys) store.delete(key);
  return [...keys].flatMap((key) => store.get(key) ?? []);
}

/** Found on a copy of the store: the real one's loops would already act on what is good beside what is bad. */
function allProblems(listing: StoreListing, store: ResourceStore): readonly Problem[] {
  const known = store
    .list()
    .flatMap(({ key, uid, generation, specHash, resource }) =>
      specHash === undefined || resource === undefined
        ? []
        : [[key, { uid, generation, specHash, resource }] as const],
    );
  const copy = new ResourceStore({
    known: new Map(known),
    onChanged: () => {},
    newUid: () => '',
    confirmMs: 0,
  });
  copy.update(listing);
  return copy.problems();
}

/** What another resource lacks does not keep this one alive. */
function ownProblems({ files, problems }: StoreListing): readonly Problem[] {
  return [...problems, ...files.flatMap((file) => file.problems)];
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
