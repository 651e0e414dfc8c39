import {
  type ClusterStatus,
  clusterStatusSchema,
  type ScheduleStatus,
  scheduleStatusSchema,
} from '../../crds/status.ts';
import { Reserve } from './reserve.ts';
import { openStatusStore, type StatusStore } from './status-store.ts';

export interface StatusStores {
  readonly clusters: StatusStore<ClusterStatus>;
  readonly schedules: StatusStore<ScheduleStatus>;
}

/** The two kinds' status files below a state directory. */
export function openStatusStores(stateDir: string): StatusStores {
  const reserve = new Reserve(stateDir);
  return {
    clusters: openStatusStore({
      ...{ stateDir, reserve },
      kind: 'ClusterSpec',
      parse: (value) => clusterStatusSchema.parse(value),
    }),
    schedules: openStatusStore({
      ...{ stateDir, reserve },
      kind: 'FaultSchedule',
      parse: (value) => scheduleStatusSchema.parse(value),
    }),
  };
}
