import { z } from 'zod';
import { nameField } from './fields.ts';
import { API_VERSION } from './group.ts';

const annotations = z.record(z.string(), z.string());

/** `metadata` as every kind has it. */
const objectMetaSchema = z
  .strictObject({
    name: nameField().describe('Names the resource; unique among its kind.'),
    labels: annotations.exactOptional().describe('Free labels for people and tools.'),
    annotations: annotations
      .exactOptional()
      .describe(
        'Free notes; a new value of spark-failures.io/run-at runs a schedule again, one of spark-failures.io/reconcile-at has a cluster looked at from scratch.',
      ),
  })
  .describe('Standard object metadata.');

/** The envelope of a resource: apiVersion, kind, metadata and the kind's own spec. */
export function resourceSchema<K extends string, S extends z.ZodType>(kind: K, spec: S) {
  return z.strictObject({
    apiVersion: z.literal(API_VERSION).describe('Version of the schema of this document.'),
    kind: z.literal(kind).describe('What this document describes.'),
    metadata: objectMetaSchema,
    spec,
  });
}
