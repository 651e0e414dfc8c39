import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { BenchSite } from './bench-site.ts';

/** A service that does nothing, dies at once and is back at once, with about as much said of it as of a real one. */
export const sleeper = (labels: Readonly<Record<string, string>>, deploy: object = {}): object => ({
  image: '${GENERATOR_IMAGE}',
  entrypoint: ['sleep', 'infinity'],
  environment: { PURPOSE: 'none', BROKERS: 'kafka:9092', RATE: '500' },
  networks: ['app'],
  stop_grace_period: '1s',
  deploy: {
    labels,
    endpoint_mode: 'dnsrr',
    restart_policy: { condition: 'any', delay: '100ms' },
    resources: { limits: { memory: '64M' } },
    ...deploy,
  },
});

/** So many of them. */
export const sleepers = (count: number, deploy: object = {}): Readonly<Record<string, object>> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, index) => {
      return [`service-${index}`, sleeper({ role: `role-${index}` }, deploy)];
    }),
  );

/** Writes a compose file of these services beside, not into, the watched folder; gives its path. */
export function saveStack(
  { workDir }: BenchSite,
  name: string,
  services: Readonly<Record<string, object>>,
): string {
  const folder = join(workDir, 'stacks');
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.yaml`);
  writeFileSync(path, stringify({ services, networks: { app: { driver: 'overlay' } } }));
  return path;
}
