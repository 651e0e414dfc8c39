import type { SeqRange } from '../records/ledger.ts';
import { acknowledge, attemptEnded, type Ledger, sendRange } from '../records/ledger.ts';
import { dueCount, intendedMs, type Schedule } from '../records/schedule.ts';

/** The wait, and the time, so that tests can hold both. */
interface SenderClock {
  now(): number;
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface PartitionSenderOptions {
  readonly partition: number;
  /** It begins where this one ends. */
  readonly ledger: Ledger;
  readonly schedule: Schedule;
  /** At most so many records are made at once, however long a stall was: memory does not grow with it. */
  readonly maximumRecords: number;
  readonly clock: SenderClock;
  /** Resolves when the broker has stored the range; rejects with what `isDefinite` can judge. */
  readonly send: (range: SeqRange) => Promise<void>;
  /** True for an error after which certainly nothing was stored. */
  readonly isDefinite: (error: unknown) => boolean;
  readonly onFailure: (error: unknown) => void;
}

/** Records that wait this long share a request. */
const lingerMs = 100;
const retryMs = 250;

/**
 * Sends one partition's records when they are due. It holds a cursor, never records: what the broker did not take is
 * made again from the seed, with the stamps it always had.
 */
export class PartitionSender {
  readonly partition: number;
  ledger: Ledger;
  private readonly options: PartitionSenderOptions;

  constructor(options: PartitionSenderOptions) {
    this.options = options;
    this.partition = options.partition;
    this.ledger = options.ledger;
  }

  /** Sends until the signal; broker trouble only makes it late. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, schedule, maximumRecords } = this.options;
    while (!signal.aborted) {
      const nowMs = clock.now();
      const due = dueCount(schedule, this.partition, nowMs);
      const { acked } = this.ledger;
      if (due <= acked) {
        await clock.sleep(Math.max(1, intendedMs(schedule, this.partition, acked) - nowMs), signal);
        continue;
      }
      const to = Math.min(due, acked + maximumRecords);
      await this.sendUntilStored({ from: acked, to }, signal);
      if (to === due) await clock.sleep(lingerMs, signal);
    }
  }

  private async sendUntilStored(range: SeqRange, signal: AbortSignal): Promise<void> {
    const { clock, send, isDefinite, onFailure } = this.options;
    while (!signal.aborted) {
      this.ledger = sendRange(this.ledger, range);
      try {
        await send(range);
        this.ledger = acknowledge(this.ledger);
        return;
      } catch (error) {
        this.ledger = attemptEnded(this.ledger, isDefinite(error) ? 'failed' : 'unknown');
        onFailure(error);
        await clock.sleep(retryMs, signal);
      }
    }
  }
}
