/** One field in which the world differs from what is wanted; absent values are `undefined`. */
export interface Difference {
  /** `TaskTemplate.ContainerSpec.Env[3]`, or a label as `Labels["a.b"]`. */
  readonly path: string;
  readonly want: unknown;
  readonly have: unknown;
}
