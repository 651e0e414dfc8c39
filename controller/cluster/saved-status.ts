import { isDeepStrictEqual } from 'node:util';
import type { ClusterStatus } from '../../crds/status.ts';
import type { Clock } from '../../state-machines/contract.ts';
import { addTransitions } from '../status/events.ts';
import type { StatusStore } from '../status/status-store.ts';

/** The status of one cluster as it is on the disk: read once, written only when it says something new. */
export class SavedStatus {
  readonly #store: StatusStore<ClusterStatus>;
  readonly #name: string;
  readonly #clock: Pick<Clock, 'now'>;
  #saved: ClusterStatus | undefined;
  #read = false;

  constructor(store: StatusStore<ClusterStatus>, name: string, clock: Pick<Clock, 'now'>) {
    this.#store = store;
    this.#name = name;
    this.#clock = clock;
  }

  get current(): ClusterStatus | undefined {
    return this.#saved;
  }

  /** Reads what an earlier process saved; one that cannot be read counts as none: labels then say what is ours. */
  async restore(): Promise<void> {
    if (this.#read) return;
    const { status } = await this.#store.read(this.#name);
    this.#saved = status;
    this.#read = true;
  }

  /** What its conditions say anew is added to its events. `tellFull` saves although the disk is full. */
  async save(observed: ClusterStatus, how: 'write' | 'tellFull' = 'write'): Promise<void> {
    const { conditions: before = [] } = this.#saved ?? {};
    const events = addTransitions(observed.events ?? [], before, observed.conditions, this.#clock.now());
    const status = { ...observed, events };
    if (isDeepStrictEqual(status, this.#saved)) return;
    await this.#store[how](this.#name, status);
    this.#saved = status;
  }

  async remove(): Promise<void> {
    await this.#store.remove(this.#name);
    this.#saved = undefined;
  }
}
