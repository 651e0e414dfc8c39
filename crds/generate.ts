import { stringify } from 'yaml';
import { z } from 'zod';
import { API_GROUP } from './group.ts';

/** What a CRD says besides its schemas. */
interface CrdNames {
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly columns: readonly PrinterColumn[];
}

interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description: string;
}

type Json = Readonly<Record<string, unknown>>;

const conditionColumn = (type: string, description: string): PrinterColumn => ({
  name: type,
  type: 'string',
  jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
  description,
});
const ageColumn: PrinterColumn = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since when it exists.',
};

/** Names and columns of the ClusterSpec CRD. */
const clusterSpecNames: CrdNames = {
  kind: 'ClusterSpec',
  plural: 'clusterspecs',
  shortNames: ['sfcluster'],
  columns: [
    conditionColumn('Ready', 'Whether the cluster is as its spec says.'),
    {
      name: 'Nodes',
      type: 'integer',
      jsonPath: '.status.nodes.ready',
      description: 'Machines that the swarm calls ready.',
    },
    ageColumn,
  ],
};

/** Names and columns of the FaultSchedule CRD. */
const faultScheduleNames: CrdNames = {
  kind: 'FaultSchedule',
  plural: 'faultschedules',
  shortNames: ['sfschedule'],
  columns: [
    {
      name: 'Cluster',
      type: 'string',
      jsonPath: '.spec.clusterRef.name',
      description: 'The cluster that is hurt.',
    },
    conditionColumn('Active', 'Whether a fault run is under way.'),
    conditionColumn('Complete', 'Whether all trials are done.'),
    ageColumn,
  ],
};

/** The CustomResourceDefinition (apiextensions.k8s.io/v1, structural) of a kind, as YAML. */
function renderCrd(names: CrdNames, resource: z.ZodObject, status: z.ZodType): string {
  const singular = names.kind.toLowerCase();
  const whole = structural(z.toJSONSchema(resource, { io: 'input', target: 'openapi-3.0' })) as Json;
  const properties = {
    apiVersion: { type: 'string' },
    kind: { type: 'string' },
    // The API server checks metadata itself and refuses a schema for more than its name.
    metadata: { type: 'object', properties: { name: metadataName(whole) } },
    spec: (whole.properties as Json).spec,
    status: structural(z.toJSONSchema(status, { io: 'input', target: 'openapi-3.0' })),
  };
  const version = {
    name: 'v1alpha1',
    served: true,
    storage: true,
    subresources: { status: {} },
    additionalPrinterColumns: names.columns,
    schema: {
      openAPIV3Schema: { type: 'object', description: whole.description, required: ['spec'], properties },
    },
  };
  const crd = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${names.plural}.${API_GROUP}` },
    spec: {
      group: API_GROUP,
      scope: 'Cluster',
      names: {
        kind: names.kind,
        listKind: `${names.kind}List`,
        plural: names.plural,
        singular,
        shortNames: names.shortNames,
      },
      versions: [version],
    },
  };
  return `# Generated from crds/*.ts by "npm run generate"; edit those.\n${stringify(crd, { lineWidth: 110, aliasDuplicateObjects: false })}`;
}

function metadataName(whole: Json): unknown {
  const { metadata } = whole.properties as Record<string, { properties: Json }>;
  return metadata?.properties.name;
}

/** The JSON schema of a manifest of this kind, for editors: unlike the CRD it refuses unknown fields. */
export function renderJsonSchema(resource: z.ZodObject): string {
  return `${JSON.stringify(z.toJSONSchema(resource, { io: 'input', target: 'draft-7' }), null, 2)}\n`;
}

/** The generated files of this folder by name, complete. */
export function renderAll(
  resources: { readonly ClusterSpec: z.ZodObject; readonly FaultSchedule: z.ZodObject },
  statuses: { readonly ClusterSpec: z.ZodType; readonly FaultSchedule: z.ZodType },
): ReadonlyMap<string, string> {
  const files = [clusterSpecNames, faultScheduleNames].flatMap((names) => {
    const kind = names.kind as keyof typeof resources;
    return [
      [`${names.plural}.${API_GROUP}.yaml`, renderCrd(names, resources[kind], statuses[kind])],
      [`${names.plural}.schema.json`, renderJsonSchema(resources[kind])],
    ] as const;
  });
  return new Map(files);
}

const FORBIDDEN: ReadonlySet<string> = new Set(['$schema', 'propertyNames', 'id']);

/** Leaves out what a structural schema may not hold: closed objects beside properties, and JSON schema's own words. */
function structural(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(structural);
  if (typeof schema !== 'object' || schema === null) return schema;
  const kept = Object.entries(schema).filter(
    ([key, value]) => !FORBIDDEN.has(key) && !(key === 'additionalProperties' && value === false),
  );
  return Object.fromEntries(kept.map(([key, value]) => [key, key === 'default' ? value : structural(value)]));
}
