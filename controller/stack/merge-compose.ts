import type { Attachment, ComposeModel, ComposeService } from './compose-schema.ts';

/**
 * Lays one compose file over another as `docker stack deploy` does with several (docker/cli cli/compose/loader/merge.go):
 * of services, maps are joined and lists appended; other objects are replaced.
 */
export function mergeCompose(base: ComposeModel, over: ComposeModel): ComposeModel {
  const services = { ...base.services };
  for (const [name, service] of Object.entries(over.services)) {
    const first = Object.hasOwn(services, name) ? services[name] : undefined;
    services[name] = first ? mergeService(first, service) : service;
  }
  return {
    ...base,
    services,
    networks: { ...base.networks, ...over.networks },
    volumes: { ...base.volumes, ...over.volumes },
    configs: { ...base.configs, ...over.configs },
    secrets: { ...base.secrets, ...over.secrets },
  };
}

function mergeService(base: ComposeService, over: ComposeService): ComposeService {
  const merged = mergeTrees(base, over) as ComposeService;
  const special = {
    command: lastSaid(base.command, over.command),
    entrypoint: lastSaid(base.entrypoint, over.entrypoint),
    ports: byKey(base.ports, over.ports, ({ published }) => published ?? 0),
    volumes: byKey(base.volumes, over.volumes, ({ target }) => target),
    configs: byKey(base.configs, over.configs, ({ source }) => source),
    secrets: byKey(base.secrets, over.secrets, ({ source }) => source),
    networks: mergeNetworks(base.networks, over.networks),
    ulimits: joined(base.ulimits, over.ulimits),
    logging: mergeLogging(base.logging, over.logging),
  };
  const said = Object.entries(special).filter(([, value]) => value !== undefined);
  return { ...merged, ...Object.fromEntries(said) };
}

const lastSaid = <T>(base: readonly T[] | undefined, over: readonly T[] | undefined) =>
  over === undefined || over.length === 0 ? base : over;

/** What has the same key is replaced; sorted by it, unless the first file says nothing: then it is as in the second. */
function byKey<T>(
  base: readonly T[] | undefined,
  over: readonly T[] | undefined,
  keyOf: (entry: T) => string | number,
): readonly T[] | undefined {
  if (base === undefined) return over;
  const entries = new Map([...base, ...(over ?? [])].map((entry) => [keyOf(entry), entry]));
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

const joined = <T>(
  base: Readonly<Record<string, T>> | undefined,
  over: Readonly<Record<string, T>> | undefined,
) => (base && over ? { ...base, ...over } : (over ?? base));

function mergeNetworks(base: ComposeService['networks'], over: ComposeService['networks']) {
  if (!base || !over) return over ?? base;
  const again = Object.entries(over).map(([name, attachment]): readonly [string, Attachment] => {
    const { driver_opts } = base[name] ?? {};
    return [name, { ...attachment, ...(driver_opts && { driver_opts }) }];
  });
  return { ...base, ...Object.fromEntries(again) };
}

type Logging = ComposeService['logging'];

/** Options are of one driver. */
function mergeLogging(base: Logging, over: Logging): Logging {
  if (!base || !over) return over ?? base;
  const same = base.driver === undefined || over.driver === undefined || base.driver === over.driver;
  if (!same) return over;
  const options = joined(base.options, over.options);
  return { ...base, ...over, ...(options && { options }) };
}

/** Where zero is another wish than nothing, and wins. */
const COUNTS = new Set(['replicas', 'parallelism', 'retries', 'max_attempts']);

function mergeTrees(base: object, over: object): object {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) merged[key] = mergeValue(key, merged[key], value);
  return merged;
}

function mergeValue(key: string, base: unknown, over: unknown): unknown {
  if (base === undefined) return over;
  if (Array.isArray(base) && Array.isArray(over)) return [...base, ...over];
  if (typeof base === 'object' && typeof over === 'object' && base !== null && over !== null)
    return mergeTrees(base, over);
  const saysNothing = over === '' || over === false || over === 0 || over === null;
  return saysNothing && !COUNTS.has(key) ? base : over;
}
