import { getJson } from './poll.ts';

/** The job's newest committed batch, as the driver tells it. */
export interface JobProgress {
  readonly applicationId: string;
  readonly batchId: number;
  readonly committedAtMs: number | null;
  readonly endOffsets: ReadonlyMap<number, number>;
}

/** A driver that has not committed anything since it started. */
export interface JobStarting {
  readonly applicationId: string;
  readonly batchId: null;
}

interface Wire {
  readonly applicationId: string;
  readonly batchId: number | null;
  readonly committedAtMs: number | null;
  readonly endOffsets: Readonly<Record<string, number>>;
}

/** Asks the driver (compose/streaming/job/job.py). */
export async function askJob(driverUrl: string, signal: AbortSignal): Promise<JobProgress | JobStarting> {
  const wire = await getJson<Wire>(`${driverUrl}/progress`, signal);
  const { applicationId, batchId } = wire;
  if (batchId === null) return { applicationId, batchId };
  const offsets = Object.entries(wire.endOffsets).map(
    ([partition, end]) => [Number(partition), end] as const,
  );
  return { applicationId, batchId, committedAtMs: wire.committedAtMs, endOffsets: new Map(offsets) };
}
