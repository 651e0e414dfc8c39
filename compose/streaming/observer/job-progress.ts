import type { BatchProgress } from '../../../state-machines/recovery/sample.ts';
import { getJson } from './poll.ts';

/** The job's newest committed batch, as the driver tells it. */
export interface JobProgress {
  readonly applicationId: string;
  readonly batchId: number;
  readonly committedAtMs: number | null;
  readonly endOffsets: ReadonlyMap<number, number>;
  /** Absent when the batch's own figures are no longer to be had. */
  readonly batch: BatchProgress | null;
}

/** A driver that has not committed anything since it started. */
export interface JobStarting {
  readonly applicationId: string;
  readonly batchId: null;
}

/** What compose/streaming/job/job.py answers. */
export interface ProgressAnswer {
  readonly applicationId: string;
  readonly batchId: number | null;
  readonly committedAtMs: number | null;
  readonly endOffsets: Readonly<Record<string, number>>;
  readonly inputRows: number;
  /** By phase, as Spark calls them. */
  readonly durationsMs: Readonly<Record<string, number>>;
  readonly stateRows: number;
  readonly droppedByWatermark: number;
  readonly watermarkMs: number | null;
}

/** Asks the driver. */
export async function askJob(driverUrl: string, signal: AbortSignal): Promise<JobProgress | JobStarting> {
  return readProgress(await getJson<ProgressAnswer>(`${driverUrl}/progress`, signal));
}

/** What the answer says; a trigger that found nothing to do says nothing of the batch before it. */
export function readProgress(answer: ProgressAnswer): JobProgress | JobStarting {
  const { applicationId, batchId, committedAtMs } = answer;
  if (batchId === null) return { applicationId, batchId };
  const offsets = Object.entries(answer.endOffsets).map(
    ([partition, end]) => [Number(partition), end] as const,
  );
  const { triggerExecution = 0, addBatch = 0 } = answer.durationsMs;
  const batch: BatchProgress = {
    ...{ durationMs: triggerExecution, addBatchMs: addBatch, inputRows: answer.inputRows },
    ...{ stateRows: answer.stateRows, droppedRows: answer.droppedByWatermark },
    watermarkMs: answer.watermarkMs ?? null,
  };
  return {
    applicationId,
    batchId,
    committedAtMs,
    endOffsets: new Map(offsets),
    batch: committedAtMs === null ? null : batch,
  };
}
