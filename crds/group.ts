import type { TypeMeta } from '@kubernetes-models/base';

/** The API group of every kind here. */
export const API_GROUP = 'spark-failures.io';

/** The one version of the group. */
export const API_VERSION = 'spark-failures.io/v1alpha1';

/** What identifies a resource to people and to us; unknown fields are refused. */
interface ObjectMeta {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Any resource of the group as far as the machinery needs to know it. */
export interface Resource extends TypeMeta {
  readonly metadata: ObjectMeta;
  readonly spec: object;
}

/** The key under which a resource is queued, stored and claimed: `ClusterSpec/six-nodes`. */
export function resourceKey(kind: string, name: string): string {
  return `${kind}/${name}`;
}
