import { clusterSpecSchema } from '../crds/cluster-spec.ts';
import { faultScheduleSchema } from '../crds/fault-schedule.ts';
import type { ManifestSchemas } from '../crds/manifest.ts';
import { clusterStatusSchema, scheduleStatusSchema } from '../crds/status.ts';
import { provisionerCatalog } from '../provisioners/catalog.ts';
import { faultKinds } from '../state-machines/faults/catalog.ts';

const byName = <T extends { readonly name: string }>(all: readonly T[]): Readonly<Record<string, T>> =>
  Object.fromEntries(all.map((one) => [one.name, one]));

/** Every fault kind, by its name in manifests. */
export const faultKindsByName = byName(faultKinds);

/** Every provisioner, by its name in manifests. */
export const provisionersByName = byName(provisionerCatalog);

const settings = Object.fromEntries(provisionerCatalog.map(({ name, config }) => [name, config]));

/** What manifests may say: the schemas of both kinds, joined with the catalogues. */
export const resourceKinds: ManifestSchemas = {
  ClusterSpec: clusterSpecSchema(settings),
  FaultSchedule: faultScheduleSchema(faultKindsByName),
};

/** What status files say, by kind. */
export const statusKinds = { ClusterSpec: clusterStatusSchema, FaultSchedule: scheduleStatusSchema };
