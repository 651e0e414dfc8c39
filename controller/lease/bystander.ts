import type { LiveConfig } from '../swarm/swarm-types.ts';
import type { Acting } from './leadership.ts';
import { type LeaseRecord, leaseName, nobody, readLease } from './lease-record.ts';

/** What the looks at one cluster's swarm have shown. */
type Sighting =
  | { readonly state: 'free' }
  /** It has not answered yet. */
  | { readonly state: 'silent'; readonly sinceMs: number }
  /** Renewed between two looks, or stood still for too long, or not seen for long enough to tell. */
  | ({
      readonly state: 'renewed' | 'over' | 'unclear';
      readonly id: string;
      readonly version: number;
      readonly sinceMs: number;
    } & Pick<LeaseRecord, 'holder' | 'term'>);

/** In a swarm that does not answer nobody can renew a lease: by default, who leads it has stopped by then. */
const silenceMs = 10_000;

/**
 * For an operator that stands for no lease, such as a single `apply`: it keeps off clusters that another operator leads, as
 * far as its looks at their swarms show that. Those keep off nothing that it does: whoever wants that stands for the lease.
 */
export class Bystander implements Acting {
  readonly #monotonicMs: () => number;
  readonly #seen = new Map<string, Sighting>();

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  saw(cluster: string, configs: readonly LiveConfig[] | undefined): void {
    this.#seen.set(cluster, this.#judge(cluster, configs, this.#seen.get(cluster)));
  }

  hindrance(cluster: string): string | undefined {
    const seen = this.#seen.get(cluster);
    if (!seen || seen.state === 'free' || seen.state === 'over') return undefined;
    if (seen.state === 'silent') return 'whoever leads it: its swarm does not answer yet';
    const { holder, state } = seen;
    return state === 'renewed' ? `${holder}, which leads` : `${holder}, if that still renews its lease`;
  }

  leader(cluster: string): Pick<LeaseRecord, 'holder' | 'term'> | undefined {
    const seen = this.#seen.get(cluster);
    return seen?.state === 'renewed' ? { holder: seen.holder, term: seen.term } : undefined;
  }

  ended(): undefined {}

  tearDown(): void {}

  async forget(): Promise<void> {}

  async beginRun(): Promise<boolean> {
    return true;
  }

  async forgetRun(): Promise<void> {}

  #judge(
    cluster: string,
    configs: readonly LiveConfig[] | undefined,
    before: Sighting | undefined,
  ): Sighting {
    const nowMs = this.#monotonicMs();
    if (!configs) {
      const seen = before ?? { state: 'silent', sinceMs: nowMs };
      const isOver = seen.state === 'silent' && nowMs - seen.sinceMs >= silenceMs;
      return isOver ? { state: 'free' } : seen;
    }
    const live = configs.find(({ Spec }) => Spec.Name === leaseName(cluster));
    if (!live) return { state: 'free' };
    const { holder, term, durationMs } = readLease(live);
    if (holder === '' || holder === nobody) return { state: 'free' };
    const { ID: id, Version } = live;
    const known = before && 'id' in before && before.id === id ? before : undefined;
    if (known?.version === Version.Index)
      return nowMs - known.sinceMs >= durationMs ? { ...known, state: 'over' } : known;
    const state = known ? 'renewed' : 'unclear';
    return { state, id, version: Version.Index, sinceMs: nowMs, holder, term };
  }
}
