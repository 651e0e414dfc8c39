import type { Problem } from '../../crds/problem.ts';
import type { LoadedDocument, LoadedFile } from './load-manifest.ts';

/** One look at all manifests. */
export interface StoreListing {
  readonly atMs: number;
  /** False when the folder could not be read to its end: what it lacks then means nothing. */
  readonly complete: boolean;
  readonly files: readonly LoadedFile[];
  /** Of the listing itself. */
  readonly problems: readonly Problem[];
}

/** What a listing says of each resource. */
export interface Seen {
  readonly documents: ReadonlyMap<string, readonly LoadedDocument[]>;
  /** By the key of the resource that is meant. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>;
  readonly byFile: ReadonlyMap<string, readonly Problem[]>;
  /** True when nothing was left unread or misunderstood, so that an absence means something. */
  readonly clean: boolean;
}

/** A file with a problem is not taken at all: its good documents keep their last good text like its bad ones. */
export function sortListing(listing: StoreListing): Seen {
  const documents = new Map<string, LoadedDocument[]>();
  const problems = new Map<string, Problem[]>();
  const byFile = new Map<string, readonly Problem[]>();
  for (const file of listing.files) {
    const bad = file.problems.length > 0;
    if (bad) byFile.set(file.path, file.problems);
    for (const document of file.documents) {
      if (bad) append(problems, document.key, file.problems);
      else append(documents, document.key, [document]);
    }
    for (const problem of file.problems)
      if (problem.resource !== undefined) append(problems, problem.resource, [problem]);
  }
  return { documents, problems, byFile, clean: listing.complete && byFile.size === 0 };
}

function append<T>(map: Map<string, T[]>, key: string, values: readonly T[]): void {
  map.set(key, [...(map.get(key) ?? []), ...values]);
}
