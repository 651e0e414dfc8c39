import {
  type ClusterStatus,
  clusterStatusSchema,
  type ScheduleStatus,
  scheduleStatusSchema,
} from '../../crds/status.ts';
import { EventLog, withEventLog } from './event-log.ts';
import { Reserve } from './reserve.ts';
import { openStatusStore, type StatusStore } from './status-store.ts';

export interface StatusStores {
  readonly clusters: StatusStore<ClusterStatus>;
  readonly schedules: StatusStore<ScheduleStatus>;
}

/** The two kinds' status files below a state directory; what is new among their events is logged there, too. */
export function openStatusStores(stateDir: string): StatusStores {
  const reserve = new Reserve(stateDir);
  const log = new EventLog(stateDir);
  const clusters = openStatusStore({
    ...{ stateDir, reserve, kind: 'ClusterSpec' },
    parse: (value) => clusterStatusSchema.parse(value),
  });
  const schedules = openStatusStore({
    ...{ stateDir, reserve, kind: 'FaultSchedule' },
    parse: (value) => scheduleStatusSchema.parse(value),
  });
  return {
    clusters: withEventLog(clusters, 'ClusterSpec', log),
    schedules: withEventLog(schedules, 'FaultSchedule', log),
  };
}
