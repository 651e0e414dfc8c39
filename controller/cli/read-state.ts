import type { ClusterStatus, ScheduleStatus } from '../../crds/status.ts';
import type { FileProblem } from '../status/status-store.ts';
import { openStatusStores } from '../status/status-stores.ts';

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
