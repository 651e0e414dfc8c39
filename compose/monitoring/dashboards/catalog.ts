import type { Dashboard } from './build-dashboard.ts';
import { cluster } from './cluster.ts';
import { jobAndBroker } from './job-and-broker.ts';
import { recovery } from './recovery.ts';

/** Every dashboard, by the name of its file; the first one is Grafana's home. */
export const DASHBOARDS: Readonly<Record<string, Dashboard>> = {
  recovery,
  cluster,
  'job-and-broker': jobAndBroker,
};
