import type { Clock, Workload } from './contract.ts';
import { KeptRows } from './recovery/kept-rows.ts';
import type { Sample } from './recovery/sample.ts';

/** Rows come every 250 ms; the newest one may be so old when it is asked for. */
const staleMs = 5_000;

/** Collects the observer's rows while a trial lasts. */
export class SampleFeed {
  readonly #kept = new KeptRows();
  readonly #clock: Clock;
  #arrivedMs = Number.NEGATIVE_INFINITY;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;

  constructor(workload: Workload, clock: Clock, onSample: (sample: Sample) => void) {
    this.#clock = clock;
    this.#ended = this.#collect(workload, onSample).catch(() => undefined); // rows that stop coming are noticed as such
  }

  /** All rows so far, oldest first. */
  get rows(): readonly Sample[] {
    return this.#kept.rows;
  }

  /** The rows of the last `ms`; undefined when they do not reach back so far, or come no more. */
  last(ms: number): readonly Sample[] | undefined {
    const [first, last] = [this.rows[0], this.rows.at(-1)];
    if (!first || !last || last.atMs - first.atMs < ms) return undefined;
    const rows = this.recent(ms);
    return rows.length > 0 ? rows : undefined;
  }

  /** The rows of the last `ms`, as far as there are any; none when they come no more. */
  recent(ms: number): readonly Sample[] {
    const last = this.rows.at(-1);
    if (!last || this.#clock.now() - this.#arrivedMs > staleMs) return [];
    return this.rows.filter(({ atMs }) => atMs >= last.atMs - ms);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the trial is over'));
    await this.#ended;
  }

  async #collect(workload: Workload, onSample: (sample: Sample) => void): Promise<void> {
    for await (const sample of workload.samples(this.#stop.signal)) {
      this.#kept.push(sample);
      this.#arrivedMs = this.#clock.now();
      onSample(sample);
    }
  }
}
