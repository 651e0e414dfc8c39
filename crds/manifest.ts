import type { z } from 'zod';
import type { ClusterSpec } from './cluster-spec.ts';
import type { FaultSchedule } from './fault-schedule.ts';

/** Any resource that a manifest may hold. */
export type Manifest = ClusterSpec | FaultSchedule;

/** The schema of each kind, joined with the catalogues of provisioners and faults. */
export interface ManifestSchemas {
  readonly ClusterSpec: z.ZodObject & z.ZodType<ClusterSpec>;
  readonly FaultSchedule: z.ZodObject & z.ZodType<FaultSchedule>;
}
