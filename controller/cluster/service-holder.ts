import type { PlanContext } from './plan-context.ts';

/** The trial that holds a service, as a whole or by one of its tasks (`node4/streaming_spark-worker-1`). */
export function serviceHolder(
  service: string,
  { heldBy, desired }: Pick<PlanContext, 'heldBy' | 'desired'>,
): string | undefined {
  const names = [service, ...desired.nodes.map(({ name }) => `${name}/${service}`)];
  return names.map(heldBy).find((owner) => owner !== undefined);
}
