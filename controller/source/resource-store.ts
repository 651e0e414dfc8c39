import type { ClusterSpec } from '../../crds/cluster-spec.ts';
import type { Manifest } from '../../crds/manifest.ts';
import { formatProblem, type Problem } from '../../crds/problem.ts';
import { duplicateProblems, scheduleProblems } from './cross-checks.ts';
import type { SourceTrouble } from './git/source-error.ts';
import type { LoadedDocument, LoadedFile } from './load-manifest.ts';

/** What the last run of the process knew of a resource, from its status: a restart is neither an edit nor a birth. */
export interface KnownResource {
  readonly uid: string;
  readonly generation: number;
  readonly specHash: string;
  /** The last good resource, where it was kept: it is in force until its file is read. */
  readonly resource?: Manifest;
}

/** Where a text comes from, when that is a repository: as status and records tell it. */
export interface SourceCommit {
  /** `main@sha1:1f0c...`. */
  readonly revision: string;
  readonly message: string;
  readonly author: string;
}

/** Why nothing newer comes. */
export interface SourceTroubleNote {
  readonly reason: SourceTrouble;
  readonly message: string;
  /** The commit that is not taken, if it is about one. */
  readonly revision?: string;
}

/** What a repository had to say at a look. */
export interface SourceLook {
  readonly commit?: SourceCommit;
  readonly trouble?: SourceTroubleNote;
}

/** What is known of a resource's source. */
export interface ResourceSource {
  /** That the text in force was last seen in; absent when no text was ever good. */
  readonly commit?: SourceCommit;
  /** The newest commit that was looked at. */
  readonly attempted?: string;
  readonly trouble?: SourceTroubleNote;
}

/** One look at all manifests. */
export interface StoreListing {
  /** By a clock that nobody sets: two looks in a rush must not seem far apart. */
  readonly atMs: number;
  /** False when the folder could not be read to its end: what it lacks then means nothing. */
  readonly complete: boolean;
  readonly files: readonly LoadedFile[];
  /** Of the listing itself. */
  readonly problems: readonly Problem[];
  /** Of a repository: nobody writes half a commit, so what a complete listing lacks is gone at once. */
  readonly source?: SourceLook;
}

/** A resource as it is to be now. */
export interface StoredResource {
  /** `<Kind>/<name>`. */
  readonly key: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  /** Grows with each edit of the spec or of a file that it names; 0: no text of it was ever good. */
  readonly generation: number;
  /** True once two complete listings lacked it. */
  readonly deleting: boolean;
  /** The last good text; absent when this process has seen none, as after a restart with a broken or absent file. */
  readonly resource?: Manifest;
  readonly specHash?: string;
  /** Where it was last seen. */
  readonly file?: string;
  /** Of a repository only. */
  readonly source?: ResourceSource;
  /** Why the newest text is not in force, or cannot be acted upon; empty: accepted. */
  readonly problems: readonly Problem[];
}

export interface ResourceStoreOptions {
  readonly known: ReadonlyMap<string, KnownResource>;
  /** Gets the keys of resources that differ from before, in no particular order, after each update. */
  readonly onChanged: (keys: readonly string[]) => void;
  readonly newUid: () => string;
  /** How long a resource must be absent before its second absence counts. */
  readonly confirmMs: number;
}

interface Entry {
  readonly stored: StoredResource;
  readonly document?: LoadedDocument;
  readonly missingSinceMs?: number;
}

/** Holds the current resources: turns looks at a folder into edits and deletions, and never deletes on a doubt. */
export class ResourceStore {
  readonly #options: ResourceStoreOptions;
  #entries: ReadonlyMap<string, Entry>;
  #problems: readonly Problem[] = [];
  #hasRead = false;

  constructor(options: ResourceStoreOptions) {
    this.#options = options;
    this.#entries = new Map(
      [...options.known].map(([key, known]) => [key, { stored: remembered(key, known) }]),
    );
  }

  /** The resource as it is to be now; undefined when there is none of that key. */
  get(key: string): StoredResource | undefined {
    return this.#entries.get(key)?.stored;
  }

  list(): readonly StoredResource[] {
    return [...this.#entries.values()].map((entry) => entry.stored);
  }

  /** Everything that is wrong with the manifests at the last look. */
  problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Whether manifests were looked at, once at least, and could be listed. */
  get hasRead(): boolean {
    return this.#hasRead;
  }

  /** Other files on which resources depend, to be watched too. */
  inputs(): readonly string[] {
    return [...new Set([...this.#entries.values()].flatMap((entry) => entry.document?.inputs ?? []))];
  }

  /** Absent once: the next look decides, and should come soon. */
  get hasUnconfirmed(): boolean {
    return [...this.#entries.values()].some(
      (entry) => entry.missingSinceMs !== undefined && !entry.stored.deleting,
    );
  }

  /** Takes one look at all manifests and reports what changed by it. */
  update(listing: StoreListing): void {
    const seen = sortListing(listing);
    this.#hasRead ||= listing.complete || listing.files.length > 0;
    const keys = new Set([...this.#entries.keys(), ...seen.documents.keys(), ...seen.problems.keys()]);
    const next = new Map<string, Entry>();
    for (const key of keys) {
      const entry = this.#nextEntry(key, seen, listing);
      next.set(key, sourced(entry, this.#entries.get(key), listing));
    }
    const checked = crossChecked(next);
    this.#problems = allProblems(listing, checked);
    this.#replace(checked);
  }

  /** Asks for the deletion of a resource without a look at any folder. */
  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry || entry.stored.deleting) return;
    this.#replace(new Map(this.#entries).set(key, { ...entry, stored: { ...entry.stored, deleting: true } }));
  }

  /** Drops a resource of which nothing is left in the world. */
  finalized(key: string): void {
    const entries = new Map(this.#entries);
    entries.delete(key);
    this.#entries = entries;
  }

  #replace(next: ReadonlyMap<string, Entry>): void {
    const before = this.#entries;
    this.#entries = next;
    const changed = [...next].filter(([key, entry]) => fingerprint(entry) !== fingerprint(before.get(key)));
    if (changed.length > 0) this.#options.onChanged(changed.map(([key]) => key));
  }

  #nextEntry(key: string, seen: Seen, listing: StoreListing): Entry {
    const entry = this.#entries.get(key);
    const documents = seen.documents.get(key) ?? [];
    // Also when another file has the document now: as long as its old one cannot be read, two may claim the name.
    const problems = new Set([
      ...(seen.problems.get(key) ?? []),
      ...(seen.byFile.get(entry?.stored.file ?? '') ?? []),
    ]);
    for (const problem of duplicateProblems(documents)) problems.add(problem);
    if (problems.size > 0) return refused(key, entry, [...problems], this.#options.newUid);
    if (documents[0]) return this.#accepted(documents[0], entry);
    return this.#missing(entry!, seen.clean, listing);
  }

  #accepted(document: LoadedDocument, entry: Entry | undefined): Entry {
    const { key, resource, specHash, file } = document;
    const before = entry?.stored.deleting ? undefined : entry?.stored; // one that comes back while it is deleted is a new one
    const generation = before?.specHash === specHash ? before.generation : (before?.generation ?? 0) + 1;
    const { kind } = resource;
    const { name } = resource.metadata;
    const uid = before?.uid ?? this.#options.newUid();
    return {
      stored: { key, kind, name, uid, generation, deleting: false, resource, specHash, file, problems: [] },
      document,
    };
  }

  #missing(entry: Entry, clean: boolean, { atMs, source }: StoreListing): Entry {
    const { missingSinceMs, ...present } = entry;
    if (!clean) return entry.stored.deleting ? entry : present;
    const needsSecond = source === undefined;
    if (needsSecond && missingSinceMs === undefined) return { ...entry, missingSinceMs: atMs };
    if (needsSecond && atMs - missingSinceMs! < this.#options.confirmMs) return entry;
    return { ...entry, stored: { ...entry.stored, deleting: true, problems: [] } };
  }
}

/** What a listing says of each resource. */
interface Seen {
  readonly documents: ReadonlyMap<string, readonly LoadedDocument[]>;
  /** By the key of the resource that is meant. */
  readonly problems: ReadonlyMap<string, readonly Problem[]>;
  readonly byFile: ReadonlyMap<string, readonly Problem[]>;
  /** True when nothing was left unread or misunderstood, so that an absence means something. */
  readonly clean: boolean;
}

/** A file with a problem is not taken at all: its good documents keep their last good text like its bad ones. */
function sortListing(listing: StoreListing): Seen {
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

function remembered(key: string, known: KnownResource): StoredResource {
  const [kind = '', name = ''] = key.split('/');
  return { key, kind, name, ...known, deleting: false, problems: [] };
}

/** Each commit is looked at as a whole; which one a text is of changes only when the text was taken. */
function sourced(entry: Entry, before: Entry | undefined, { source: look }: StoreListing): Entry {
  if (!look) return entry;
  const { source: _, ...stored } = entry.stored;
  const known = before?.stored.source;
  const isTaken = entry.document !== undefined && stored.problems.length === 0 && look.commit !== undefined;
  const commit = isTaken ? look.commit : known?.commit;
  const attempted = look.commit?.revision ?? look.trouble?.revision ?? known?.attempted;
  const source = {
    ...(commit && { commit }),
    ...(attempted !== undefined && { attempted }),
    ...(look.trouble && { trouble: look.trouble }),
  };
  return { ...entry, stored: { ...stored, source } };
}

/** The last good text stays in force, and the resource is not missing: only its newest text cannot be used. */
function refused(
  key: string,
  entry: Entry | undefined,
  problems: readonly Problem[],
  newUid: () => string,
): Entry {
  const [kind = '', name = ''] = key.split('/');
  const file = problems[0]!.file;
  const stored = entry
    ? { ...entry.stored, problems }
    : { key, kind, name, uid: newUid(), generation: 0, deleting: false, problems, file };
  return { stored, ...(entry?.document && { document: entry.document }) };
}

function crossChecked(entries: ReadonlyMap<string, Entry>): ReadonlyMap<string, Entry> {
  const clusters = new Map<string, ClusterSpec>();
  for (const { stored } of entries.values()) {
    if (stored.resource?.kind === 'ClusterSpec' && !stored.deleting)
      clusters.set(stored.name, stored.resource);
  }
  const checked = [...entries].map(([key, entry]): [string, Entry] => {
    const { stored, document } = entry;
    const { resource, deleting } = stored;
    const isRefused = stored.problems.length > 0;
    if (!document || resource?.kind !== 'FaultSchedule' || deleting || isRefused) return [key, entry];
    const problems = scheduleProblems(document, resource, clusters);
    return [key, { ...entry, stored: { ...stored, problems } }];
  });
  return new Map(checked);
}

function allProblems(listing: StoreListing, entries: ReadonlyMap<string, Entry>): readonly Problem[] {
  const all = [
    ...listing.problems,
    ...listing.files.flatMap((file) => file.problems),
    ...[...entries.values()].flatMap((entry) => entry.stored.problems),
  ];
  return [...new Map(all.map((problem) => [formatProblem(problem), problem])).values()];
}

/** What makes a resource another one for those who reconcile it; the file tells the first sight after a restart. */
function fingerprint(entry: Entry | undefined): string {
  return JSON.stringify(entry?.stored);
}
