import type { RunRecord } from '../../state-machines/contract.ts';

/** A journal record of a crash that is being held, with what a test wants otherwise. */
export function exampleRun(runId: string, more: Partial<RunRecord> = {}): RunRecord {
  return {
    schemaVersion: 1,
    runId,
    cluster: 'six-nodes',
    schedule: 'worker-crash',
    fault: 'crash-one-worker',
    kind: 'killContainer',
    instant: true,
    needs: ['systemd'],
    steps: [
      {
        node: 'node4',
        target: 'node4/streaming_spark-worker-1',
        mechanism: 'signal',
        args: ['abc', 'SIGKILL'],
      },
    ],
    holdMs: 0,
    graceMs: 30_000,
    phase: 'holding',
    atMs: 1,
    ...more,
  };
}
