import type { LiveConfig } from '../swarm/swarm-types.ts';
import type { Acting } from './leadership.ts';
import { type LeaseRecord, leaseName, nobody, readLease } from './lease-record.ts';

interface Sighting extends Pick<LeaseRecord, 'holder' | 'term'> {
  readonly id: string;
  readonly version: number;
  readonly sinceMs: number;
  /** Renewed between two looks, or held for longer than it may stand still, or neither yet. */
  readonly state: 'renewed' | 'over' | 'unknown';
}

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

  saw(cluster: string, configs: readonly LiveConfig[]): void {
    const live = configs.find(({ Spec }) => Spec.Name === leaseName(cluster));
    const { holder = '', term = 0, durationMs = 0 } = live ? readLease(live) : {};
    if (!live || holder === '' || holder === nobody) {
      this.#seen.delete(cluster);
      return;
    }
    const nowMs = this.#monotonicMs();
    const before = this.#seen.get(cluster);
    const { ID: id, Version } = live;
    if (before?.id !== id || before.version !== Version.Index) {
      const state = before?.id === id ? 'renewed' : 'unknown';
      this.#seen.set(cluster, { id, version: Version.Index, holder, term, sinceMs: nowMs, state });
    } else if (nowMs - before.sinceMs >= durationMs) this.#seen.set(cluster, { ...before, state: 'over' });
  }

  hindrance(cluster: string): string | undefined {
    const { holder, state = 'over' } = this.#seen.get(cluster) ?? {};
    if (state === 'over') return undefined;
    return state === 'renewed' ? `${holder}, which leads` : `${holder}, if that still renews its lease`;
  }

  leader(cluster: string): Pick<LeaseRecord, 'holder' | 'term'> | undefined {
    const { holder, term, state } = this.#seen.get(cluster) ?? {};
    return holder !== undefined && term !== undefined && state === 'renewed' ? { holder, term } : undefined;
  }

  ended(): undefined {}

  tearDown(): void {}

  async forget(): Promise<void> {}

  async beginRun(): Promise<boolean> {
    return true;
  }

  async forgetRun(): Promise<void> {}
}
