import type { ControlPlaneView } from './control-planes.ts';
import type { Sample } from './sample.ts';

/** Where a kept row's numbers stand; null is NaN there. */
const places = {
  ...{ atMs: 0, ackedMs: 1, committedMs: 2, visibleMs: 3, intended: 4, acked: 5 },
  ...{ generatorBehindMs: 6, batchId: 7, batchAtMs: 8 },
} as const satisfies { readonly [Field in keyof Sample]?: number };
const fields = Object.keys(places) as (keyof typeof places)[];
const seenAt = fields.length;
const viewsAt = seenAt + 1;
/** Rows of one array: large enough to be worth its head, small against a day's. */
const rowsPerArray = 1_024;

/** What most rows say like the one before them. */
interface Said extends Pick<Sample, 'batch' | 'correctness'> {
  readonly sources: Omit<Sample['sources'], 'generatorSeenMs'>;
  readonly answers: readonly Omit<ControlPlaneView, 'askedMs' | 'atMs'>[];
}

/**
 * Rows of a long watch, oldest first, in about a third of the memory that they have as they come: numbers in arrays, and
 * what a row says like the one before it only once. They read as the rows that were given.
 */
export class KeptRows {
  readonly #rows: KeptRow[] = [];
  #numbers = new Float64Array();
  #used = 0;
  #said: Said | undefined;

  get rows(): readonly Sample[] {
    return this.#rows;
  }

  push(row: Sample): void {
    const said = saidBy(row, this.#said);
    const numbers = [
      ...fields.map((field) => row[field] ?? Number.NaN),
      row.sources.generatorSeenMs,
      ...row.views.flatMap(({ askedMs, atMs }) => [askedMs, atMs]),
    ];
    if (this.#used + numbers.length > this.#numbers.length) {
      this.#numbers = new Float64Array(numbers.length * rowsPerArray);
      this.#used = 0;
    }
    this.#numbers.set(numbers, this.#used);
    this.#rows.push(new KeptRow(this.#numbers, this.#used, said));
    this.#used += numbers.length;
    this.#said = said;
  }
}

class KeptRow implements Sample {
  readonly #numbers: Float64Array;
  readonly #from: number;
  readonly #said: Said;

  constructor(numbers: Float64Array, from: number, said: Said) {
    this.#numbers = numbers;
    this.#from = from;
    this.#said = said;
  }

  get atMs() {
    return this.#number(places.atMs);
  }
  get ackedMs() {
    return this.#number(places.ackedMs);
  }
  get committedMs() {
    return this.#numberOrNull(places.committedMs);
  }
  get visibleMs() {
    return this.#numberOrNull(places.visibleMs);
  }
  get intended() {
    return this.#number(places.intended);
  }
  get acked() {
    return this.#number(places.acked);
  }
  get generatorBehindMs() {
    return this.#number(places.generatorBehindMs);
  }
  get batchId() {
    return this.#numberOrNull(places.batchId);
  }
  get batchAtMs() {
    return this.#numberOrNull(places.batchAtMs);
  }
  get batch() {
    return this.#said.batch;
  }
  get correctness() {
    return this.#said.correctness;
  }
  // Field by field: what a spread copies in V8 outlives its use until the next full collection, a day of it 200 MB.
  get sources() {
    const { observerStartedMs, generatorStartedMs, countedSinceMs } = this.#said.sources;
    const generatorSeenMs = this.#number(seenAt);
    return { observerStartedMs, generatorStartedMs, generatorSeenMs, countedSinceMs };
  }
  get views() {
    return this.#said.answers.map(({ source, parts, losses }, index) => {
      const from = viewsAt + 2 * index;
      return { source, askedMs: this.#number(from), atMs: this.#number(from + 1), parts, losses };
    });
  }

  #number(index: number): number {
    return this.#numbers[this.#from + index]!;
  }

  #numberOrNull(index: number): number | null {
    const value = this.#number(index);
    return Number.isNaN(value) ? null : value;
  }
}

/** With the very objects of the row before where it says the same. */
function saidBy({ batch, correctness, sources, views }: Sample, last: Said | undefined): Said {
  const { generatorSeenMs: _, ...processes } = sources;
  const answers = views.map(({ askedMs: _asked, atMs: _at, ...answer }) => {
    const before = last?.answers.find(({ source }) => source === answer.source);
    return same({ ...answer, parts: same(answer.parts, before?.parts) }, before);
  });
  const said: Said = {
    batch: same(batch, last?.batch),
    correctness: same(correctness, last?.correctness),
    sources: same(processes, last?.sources),
    answers: same(answers, last?.answers),
  };
  return same(said, last);
}

/** The second one when all its fields are those of the first. */
function same<T extends object | null>(one: T, other: T | undefined): T {
  if (!one || !other) return one;
  const entries = Object.entries(one);
  const isSame = ([name, value]: (typeof entries)[number]) =>
    value === (other as Record<string, unknown>)[name];
  return entries.length === Object.keys(other).length && entries.every(isSame) ? other : one;
}
