import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { resourceKinds } from '../../controller/resource-kinds.ts';
import { SavedResources } from '../../controller/source/saved-resources.ts';
import { openStatusStores } from '../../controller/status/status-stores.ts';
import { openSampleFile } from '../../controller/workload/sample-file.ts';
import type { SyntheticCampaign } from './synthetic-campaign.ts';

/** Fills a state directory as an operator would have left it; gives the path of the schedule's manifest. */
export async function saveCampaign(
  { schedule, cluster, status, rows }: SyntheticCampaign,
  stateDir: string,
): Promise<string> {
  const { name } = schedule.metadata;
  await openStatusStores(stateDir).schedules.write(name, status);
  await new SavedResources(stateDir, resourceKinds).save({
    ...{ key: `ClusterSpec/${cluster.metadata.name}`, kind: 'ClusterSpec', name: cluster.metadata.name },
    ...{ uid: 'uid-2', generation: 1, specHash: 'hash', resource: cluster, deleting: false, problems: [] },
  });
  for (const [runId, own] of rows) {
    const file = openSampleFile(stateDir, runId);
    for (const row of own) file.write(row);
    await file.close();
  }
  mkdirSync(stateDir, { recursive: true });
  const manifest = join(stateDir, 'schedule.yaml');
  writeFileSync(manifest, stringify(schedule));
  return manifest;
}
