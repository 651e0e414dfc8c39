import {
  type ClusterStatus,
  clusterStatusSchema,
  type ScheduleStatus,
  scheduleStatusSchema,
} from '../../crds/status.ts';
import { type FileProblem, openStatusStore, type StatusStore } from '../status/status-store.ts';

export interface StatusStores {
  readonly clusters: StatusStore<ClusterStatus>;
  readonly schedules: StatusStore<ScheduleStatus>;
}

/** The two kinds' status files below a state directory. */
export function openStatusStores(stateDir: string): StatusStores {
  return {
    clusters: openStatusStore({
      stateDir,
      kind: 'ClusterSpec',
      parse: (value) => clusterStatusSchema.parse(value),
    }),
    schedules: openStatusStore({
      stateDir,
      kind: 'FaultSchedule',
      parse: (value) => scheduleStatusSchema.parse(value),
    }),
  };
}

export interface SavedState {
  readonly clusters: ReadonlyMap<string, ClusterStatus>;
  readonly schedules: ReadonlyMap<string, ScheduleStatus>;
  readonly unreadable: readonly FileProblem[];
}

/** Everything saved, without a lock: files are replaced whole, so any moment will do. */
export async function readState(stateDir: string): Promise<SavedState> {
  const stores = openStatusStores(stateDir);
  const [clusters, schedules] = await Promise.all([stores.clusters.list(), stores.schedules.list()]);
  return {
    clusters: clusters.found,
    schedules: schedules.found,
    unreadable: [...clusters.unreadable, ...schedules.unreadable],
  };
}
