import { deadline } from '../../provisioners/deadline.ts';
import { type Clock, RefusedError } from '../../state-machines/contract.ts';
import type { LiveConfig } from '../swarm/swarm-types.ts';
import { type ElectorOptions, LeaseElector, type LeaseGateway, type LeaseTimes } from './lease-elector.ts';
import type { LeaseRecord } from './lease-record.ts';

export interface LeadershipOptions {
  readonly identity: string;
  readonly times: LeaseTimes;
  readonly clock: Clock;
  readonly monotonicMs: () => number;
  /** The clusters whose manifests are known. */
  readonly clusters: () => readonly string[];
  readonly managers: (
    cluster: string,
    signal: AbortSignal,
  ) => Promise<readonly (() => Promise<LeaseGateway>)[]>;
  /** Ends what was begun with the right to act. */
  readonly lost: (cluster: string, reason: string) => void;
  /** Asks for a pass over the cluster and its schedules. */
  readonly wake: (cluster: string) => void;
  readonly metrics: { leading(cluster: string, leads: boolean): void; gone(cluster: string): void };
  readonly log: Readonly<Record<'info' | 'warn', (fields: object, message: string) => void>>;
}

/** Who acts on a cluster, as those ask who would. */
export interface Acting {
  /** Takes in the configs that a look has found in the cluster's swarm; undefined when that did not answer. */
  saw(cluster: string, configs: readonly LiveConfig[] | undefined): void;
  /** Who acts on the cluster in our place, or why nobody does; undefined when we may act. Asked right before each write. */
  hindrance(cluster: string): string | undefined;
  /** Who was last seen to hold the lease. */
  leader(cluster: string): Pick<LeaseRecord, 'holder' | 'term'> | undefined;
  /** Aborts when the right to act ends; undefined when it cannot any more. */
  ended(cluster: string): AbortSignal | undefined;
  /** Whoever has begun to take a cluster down finishes that, lease or not: nobody can take it in a swarm that is gone. */
  tearDown(cluster: string): void;
  /** The cluster is gone; of a swarm that stays, the lease is taken away. */
  forget(cluster: string): Promise<void>;
  /** Whether that run of a schedule was not begun by any operator yet; from here on it was. */
  beginRun(cluster: string, schedule: string, run: string, signal: AbortSignal): Promise<boolean>;
  /** The schedule is gone: another one of its name is another one. */
  forgetRun(cluster: string, schedule: string, signal: AbortSignal): Promise<void>;
}

/** Fences nodes and heals what the one before has left; nothing else is done before. Never rejects. */
type TakeOver = (cluster: string, signal: AbortSignal) => Promise<void>;

interface Standing {
  readonly elector: LeaseElector;
  readonly stop: AbortController;
  readonly running: Promise<void>;
  /** The mandate under which nodes were fenced and healed. */
  ready?: string;
  /** Its teardown was begun by who led: the swarm that could say who leads goes with it. */
  isTornDown: boolean;
}

const followMs = 1_000;
const letGoMs = 3_000;

/** Which clusters this process may act on, where several operators have the same manifests: one lease per cluster. */
export class Leadership implements Acting {
  readonly #options: LeadershipOptions;
  readonly #standings = new Map<string, Standing>();

  constructor(options: LeadershipOptions) {
    this.#options = options;
  }

  /** The elector reads the lease by itself, and in time. */
  saw(): void {}

  hindrance(cluster: string): string | undefined {
    const standing = this.#standings.get(cluster);
    if (!standing) return 'whoever gets its lease';
    const { elector, ready, isTornDown } = standing;
    if (isTornDown) return undefined;
    const { mandate, leader, problem } = elector;
    if (mandate !== undefined)
      return mandate === ready ? undefined : 'this operator once it has healed what another one left';
    if (problem !== undefined) return `whoever holds its lease (${problem})`;
    return leader ? `${leader.holder}, which leads` : 'whoever gets its lease';
  }

  /** Lease and term, as nodes compare them; throws RefusedError when we may not act. */
  mandate(cluster: string): string {
    const hindrance = this.hindrance(cluster);
    const { mandate } = this.#standings.get(cluster)?.elector ?? {};
    if (hindrance !== undefined || mandate === undefined)
      throw new RefusedError(`${cluster} is left to ${hindrance ?? 'nobody: it is being taken down'}`);
    return mandate;
  }

  /** The same while nodes are being healed, before we may act. */
  mandateToHeal(cluster: string): string | undefined {
    return this.#standings.get(cluster)?.elector.mandate;
  }

  ended(cluster: string): AbortSignal | undefined {
    const standing = this.#standings.get(cluster);
    return standing?.isTornDown ? undefined : standing?.elector.ended;
  }

  leader(cluster: string): Pick<LeaseRecord, 'holder' | 'term'> | undefined {
    return this.#standings.get(cluster)?.elector.leader;
  }

  /** What this process is, a sentence for each cluster. */
  roles(): readonly string[] {
    return [...this.#standings.keys()].map((cluster) => {
      const hindrance = this.hindrance(cluster);
      return hindrance === undefined ? `leads ${cluster}` : `waits: ${cluster} is left to ${hindrance}`;
    });
  }

  beginRun(cluster: string, schedule: string, run: string, signal: AbortSignal): Promise<boolean> {
    this.mandate(cluster);
    return this.#standings.get(cluster)!.elector.noteRun(schedule, run, signal);
  }

  async forgetRun(cluster: string, schedule: string, signal: AbortSignal): Promise<void> {
    if (this.mandateToHeal(cluster) === undefined) return;
    await this.#standings.get(cluster)!.elector.noteRun(schedule, undefined, signal);
  }

  tearDown(cluster: string): void {
    const standing = this.#standings.get(cluster);
    if (standing && this.hindrance(cluster) === undefined) standing.isTornDown = true;
  }

  async forget(cluster: string): Promise<void> {
    const standing = this.#standings.get(cluster);
    if (!standing) return;
    await this.#drop(cluster, standing);
    await standing.elector.remove(deadline(letGoMs)).catch(() => undefined); // gone with its swarm
  }

  /** Stands for the lease of each cluster that is known, until the signal; what is held then is held until `release`. */
  async run(takeOver: TakeOver, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const known = this.#options.clusters();
      for (const cluster of known) if (!this.#standings.has(cluster)) this.#stand(cluster, takeOver);
      for (const [cluster, standing] of this.#standings)
        if (!known.includes(cluster)) await this.#drop(cluster, standing);
      await this.#options.clock.sleep(followMs, signal).catch(() => undefined);
    }
  }

  /** Lets all leases go; the next ones may act at once. Only when nothing is done any more. */
  async release(): Promise<void> {
    const all = [...this.#standings].map(async ([cluster, standing]) => {
      await this.#drop(cluster, standing);
      await standing.elector.release(deadline(letGoMs)).catch((err: unknown) => {
        this.#options.log.warn({ err, cluster }, 'lease not let go: it runs out');
      });
    });
    await Promise.all(all);
  }

  /** Stands for it no more; what is held runs out. */
  async #drop(cluster: string, standing: Standing): Promise<void> {
    standing.stop.abort(new Error('the cluster is let go'));
    await standing.running;
    this.#standings.delete(cluster);
    this.#options.metrics.gone(cluster);
  }

  #stand(cluster: string, takeOver: TakeOver): void {
    const { identity, times, clock, monotonicMs, managers, metrics, wake } = this.#options;
    const elector = new LeaseElector({
      ...{ cluster, identity, times, clock, monotonicMs },
      managers: (signal) => managers(cluster, signal),
      acquired: (mandate, ended) =>
        void this.#acquired(cluster, mandate, () => takeOver(cluster, ended), ended),
      changed: () => {
        metrics.leading(cluster, elector.mandate !== undefined);
        wake(cluster);
      },
    } satisfies ElectorOptions);
    const stop = new AbortController();
    metrics.leading(cluster, false);
    this.#standings.set(cluster, { elector, stop, running: elector.run(stop.signal), isTornDown: false });
  }

  async #acquired(
    cluster: string,
    mandate: string,
    takeOver: () => Promise<void>,
    ended: AbortSignal,
  ): Promise<void> {
    const { log, lost, wake } = this.#options;
    log.info({ cluster, mandate }, 'lease taken');
    ended.addEventListener('abort', () => {
      const standing = this.#standings.get(cluster);
      if (standing?.isTornDown) return;
      log.info({ cluster, mandate }, 'lease over');
      lost(cluster, 'the lease of its cluster is over: another operator may act');
    });
    await takeOver();
    const standing = this.#standings.get(cluster);
    if (!standing || ended.aborted) return;
    standing.ready = mandate;
    log.info({ cluster, mandate }, 'leads');
    wake(cluster);
  }
}
