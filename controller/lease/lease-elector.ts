import { messageOf } from '../../provisioners/contract.ts';
import type { Clock } from '../../state-machines/contract.ts';
import type { SwarmGateway } from '../swarm/swarm-gateway.ts';
import type { LiveConfig } from '../swarm/swarm-types.ts';
import { type LeaseRecord, leaseData, leaseLabels, leaseName, nobody, readLease } from './lease-record.ts';

/** client-go's three times, with its rule: lease > renew > retry. */
export interface LeaseTimes {
  /** Whoever waits takes a lease that has stood still for so long. */
  readonly leaseMs: number;
  /** Whoever holds it acts so long after the last renewal that was acknowledged. */
  readonly renewMs: number;
  /** Between tries. */
  readonly retryMs: number;
}

/** The lease's swarm, through one of its managers. */
export type LeaseGateway = Pick<SwarmGateway, 'findConfig' | 'createConfig' | 'labelConfig' | 'removeConfig'>;

export interface ElectorOptions {
  readonly cluster: string;
  /** Unique among processes, also of one machine: nobody takes up the lease of its predecessor. */
  readonly identity: string;
  readonly times: LeaseTimes;
  readonly clock: Clock;
  /** Of a clock that nobody can set, and that goes on while a process or a machine is suspended. */
  readonly monotonicMs: () => number;
  /** Ways to the managers that may answer, the likeliest first. */
  readonly managers: (signal: AbortSignal) => Promise<readonly (() => Promise<LeaseGateway>)[]>;
  /** Told when the right to act begins; it ends with the signal. */
  readonly acquired: (mandate: string, signal: AbortSignal) => void;
  /** Told when somebody else is seen to hold it, or nobody, or that this cannot be seen. */
  readonly changed: () => void;
}

/** A record as it was first seen: who waits counts from there, by his own clock. */
interface Sighting {
  readonly id: string | undefined;
  readonly version: number | undefined;
  readonly record: LeaseRecord | undefined;
  readonly sinceMs: number;
}

interface Right {
  readonly mandate: string;
  readonly ended: AbortController;
  untilMs: number;
}

/**
 * Stands for one cluster's lease. The right to act counts from *before* the last renewal that was acknowledged was sent, and
 * is shorter than what others wait after they have *seen* it: it ends before theirs can begin, whatever clocks say.
 */
export class LeaseElector {
  readonly #options: ElectorOptions;
  #seen: Sighting | undefined;
  #right: Right | undefined;
  /** Why the lease could not be read or renewed at the last try. */
  #problem: string | undefined = 'not asked yet';
  /** Counts failures: the next try goes to another manager than the one that failed. */
  #skip = 0;
  /** One change at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ElectorOptions) {
    this.#options = options;
  }

  /** Lease and term while this process may act; asked right before each act. */
  get mandate(): string | undefined {
    const right = this.#right;
    if (!right || right.ended.signal.aborted) return undefined;
    if (this.#options.monotonicMs() < right.untilMs) return right.mandate;
    this.#end(right); // a process that was stopped finds out here, before its timers tell
    return undefined;
  }

  /** Aborts when the present right to act ends, or has aborted. */
  get ended(): AbortSignal | undefined {
    return this.#right?.ended.signal;
  }

  /** What was last seen. */
  get leader(): Pick<LeaseRecord, 'holder' | 'term'> | undefined {
    const record = this.#seen?.record;
    return record && record.holder !== '' && record.holder !== nobody
      ? { holder: record.holder, term: record.term }
      : undefined;
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  /** Takes the lease when it may, and renews it, until the signal; the right lasts until it is released or runs out. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, monotonicMs } = this.#options;
    while (!signal.aborted) {
      const beganMs = monotonicMs();
      await this.#try(signal);
      const pauseMs = Math.max(1, this.#pauseMs() - (monotonicMs() - beganMs));
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }

  /** Lets the next one begin at once. Only when nothing is done any more. */
  async release(signal: AbortSignal): Promise<void> {
    if (this.mandate === undefined) return;
    this.#end(this.#right!);
    await this.#change(signal, (record) => ({ ...record, holder: '' }));
  }

  /** Takes the lease away, with its cluster. */
  async remove(signal: AbortSignal): Promise<void> {
    const id = this.#seen?.id;
    if (this.mandate === undefined || id === undefined) return;
    this.#end(this.#right!);
    await this.#inTurn(signal, (swarm, bounded) => swarm.removeConfig(id, bounded));
  }

  /**
   * Writes down that a run of a schedule, `<hash>/<moment>`, begins (undefined: that the schedule is gone), where the next one
   * finds it. False when it is there already. Rejects when the lease is not ours.
   */
  async noteRun(schedule: string, run: string | undefined, signal: AbortSignal): Promise<boolean> {
    let isNew = true;
    await this.#change(signal, (record) => {
      const { [schedule]: before, ...others } = record.runs;
      // One that names no moment asks for nothing new of one that did.
      isNew = before !== run && !(run?.endsWith('/') && before?.startsWith(run));
      return isNew && { ...record, runs: { ...others, ...(run !== undefined && { [schedule]: run }) } };
    });
    return isNew;
  }

  async #try(signal: AbortSignal): Promise<void> {
    const before = JSON.stringify([this.leader, this.#problem]);
    try {
      await this.#inTurn(signal, (swarm, bounded) => this.#stand(swarm, bounded));
      this.#problem = undefined;
    } catch (error) {
      if (signal.aborted) return;
      this.#problem = messageOf(error);
      this.#skip++;
    }
    if (JSON.stringify([this.leader, this.#problem]) !== before) this.#options.changed();
  }

  /** Reads, and renews or takes what may be. */
  async #stand(swarm: LeaseGateway, signal: AbortSignal): Promise<void> {
    const { identity, times, clock, monotonicMs } = this.#options;
    const live = await this.#look(swarm, signal);
    signal.throwIfAborted();
    const isHeld = this.mandate !== undefined;
    if (live && isHeld && this.#seen?.record?.holder !== identity) this.#end(this.#right!);
    if (!live && !isHeld) {
      // Not taken by being made: of a record that was there for a moment, and of its holder, nobody may have heard.
      const unheld = { holder: nobody, term: 0, durationMs: times.leaseMs, renewed: '', runs: {} };
      await this.#write(swarm, live, unheld, signal);
      await this.#look(swarm, signal);
    }
    if (!this.#mayTake()) return;
    const record = this.#seen?.record;
    const renewed = new Date(clock.now()).toISOString();
    // Also who let it run out, and sees his own name still, begins anew: what he has left may be healed by now.
    const term = (record?.term ?? 0) + (record && this.mandate !== undefined ? 0 : 1);
    const next = { holder: identity, term, durationMs: times.leaseMs, renewed, runs: record?.runs ?? {} };
    const sentMs = monotonicMs();
    const id = await this.#write(swarm, live, next, signal);
    signal.throwIfAborted(); // an answer that nobody waited for any more
    this.#grant(`${id} ${term}`, term, sentMs + times.renewMs);
  }

  /** Only a record that stands still is taken: one that is gone is made anew, for who deleted it did not ask its holder. */
  #mayTake(): boolean {
    const { identity, times, monotonicMs } = this.#options;
    if (this.mandate !== undefined) return true;
    const { record, sinceMs } = this.#seen!;
    if (record && (record.holder === identity || record.holder === '')) return true;
    return monotonicMs() - sinceMs >= Math.max(times.leaseMs, record?.durationMs ?? 0);
  }

  async #look(swarm: LeaseGateway, signal: AbortSignal): Promise<LiveConfig | undefined> {
    const live = await swarm.findConfig(leaseName(this.#options.cluster), signal);
    const [id, version] = [live?.ID, live?.Version.Index];
    if (!this.#seen || this.#seen.id !== id || this.#seen.version !== version)
      this.#seen = { id, version, record: live && readLease(live), sinceMs: this.#options.monotonicMs() };
    return live;
  }

  async #write(
    swarm: LeaseGateway,
    live: LiveConfig | undefined,
    record: LeaseRecord,
    signal: AbortSignal,
  ): Promise<string> {
    const { cluster } = this.#options;
    const Labels = leaseLabels(cluster, record);
    if (!live) return swarm.createConfig({ Name: leaseName(cluster), Labels, Data: leaseData }, signal);
    await swarm.labelConfig(live, Labels, signal);
    return live.ID;
  }

  #grant(mandate: string, term: number, untilMs: number): void {
    const right = this.#right;
    const record = this.#seen?.record;
    if (right?.mandate === mandate && this.mandate !== undefined) {
      right.untilMs = untilMs;
      return;
    }
    if (right) this.#end(right);
    const ended = new AbortController();
    this.#right = { mandate, untilMs, ended };
    // Known without another look: we wrote it.
    const { identity: holder, times } = this.#options;
    const mine = { renewed: '', runs: {}, ...record, holder, term, durationMs: times.leaseMs };
    this.#seen = { id: mandate.split(' ')[0], version: undefined, record: mine, sinceMs: untilMs };
    if (this.mandate === undefined) return; // answered so late that it has run out
    void this.#expire(this.#right);
    this.#options.acquired(mandate, ended.signal);
    this.#options.changed();
  }

  /** Ends the right on time, whatever the network does meanwhile. */
  async #expire(right: Right): Promise<void> {
    while (!right.ended.signal.aborted) {
      const leftMs = right.untilMs - this.#options.monotonicMs();
      if (leftMs <= 0) this.#end(right);
      else await this.#options.clock.sleep(leftMs, right.ended.signal).catch(() => undefined);
    }
  }

  #end(right: Right): void {
    if (right.ended.signal.aborted) return;
    right.ended.abort(new Error(`this operator no longer holds the lease of ${this.#options.cluster}`));
    this.#options.changed();
  }

  /** Read, change, write, as long as it is ours. */
  #change(signal: AbortSignal, edit: (record: LeaseRecord) => LeaseRecord | false): Promise<void> {
    const { cluster, identity } = this.#options;
    return this.#inTurn(signal, async (swarm, bounded) => {
      const live = await swarm.findConfig(leaseName(cluster), bounded);
      const record = live && readLease(live);
      if (record?.holder !== identity) throw new Error(`the lease of ${cluster} is not ours`);
      const next = edit(record);
      if (next) await this.#write(swarm, live, next, bounded);
    });
  }

  #inTurn<T>(
    signal: AbortSignal,
    work: (swarm: LeaseGateway, bounded: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const turn = this.#turn.then(() => this.#bounded(signal, work));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Through one manager, within the time of one try: one that hangs must not cost the lease. */
  async #bounded<T>(
    signal: AbortSignal,
    work: (swarm: LeaseGateway, bounded: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, times, managers, cluster } = this.#options;
    const late = new AbortController();
    const done = new AbortController();
    void clock.sleep(times.retryMs, done.signal).then(
      () => late.abort(new Error(`no manager answered within ${times.retryMs} ms`)),
      () => undefined,
    );
    const bounded = AbortSignal.any([signal, late.signal]);
    const aborted = new Promise<never>((_resolve, reject) => {
      bounded.addEventListener('abort', () => reject(bounded.reason as Error), { once: true });
    });
    const ask = async () => {
      bounded.throwIfAborted();
      const ways = await managers(bounded);
      const way = ways[this.#skip % Math.max(1, ways.length)];
      if (!way) throw new Error(`no manager of ${cluster} answers`);
      return work(await way(), bounded);
    };
    try {
      return await Promise.race([ask(), aborted]);
    } finally {
      done.abort();
    }
  }

  /** Until the next renewal, or the instant at which a lease that stands still may be taken. */
  #pauseMs(): number {
    const { times, monotonicMs } = this.#options;
    if (this.mandate !== undefined || !this.#seen || this.#problem !== undefined) return times.retryMs;
    const { record, sinceMs } = this.#seen;
    const leftMs = sinceMs + Math.max(times.leaseMs, record?.durationMs ?? 0) - monotonicMs();
    return Math.min(times.retryMs, leftMs);
  }
}
