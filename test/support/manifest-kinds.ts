import { clusterSpecSchema } from '../../crds/cluster-spec.ts';
import { faultScheduleSchema } from '../../crds/fault-schedule.ts';
import type { ManifestSchemas } from '../../crds/manifest.ts';
import { provisionerCatalog } from '../../provisioners/catalog.ts';
import { faultKinds } from '../../state-machines/faults/catalog.ts';

/** The schemas of all kinds, joined with the catalogues as the process joins them. */
export const manifestKinds: ManifestSchemas = {
  ClusterSpec: clusterSpecSchema(
    Object.fromEntries(provisionerCatalog.map(({ name, config }) => [name, config])),
  ),
  FaultSchedule: faultScheduleSchema(Object.fromEntries(faultKinds.map((kind) => [kind.name, kind]))),
};
