import type { EnvironmentPart } from './compose-schema.ts';
import type { Variables } from './interpolate.ts';

/** Values by name; null for a variable that is named and has no value. */
type Environment = Readonly<Record<string, string | null>>;

/**
 * The variables of an env file, as `docker stack deploy` reads it (docker/cli pkg/kvfile): `NAME=value` to the end of the
 * line, quotes and all, comments at the beginning of a line only. Throws a RangeError that names the line.
 */
export function parseEnvFile(text: string): Environment {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const entries = lines.flatMap((whole, n) => {
    const line = whole.trimStart();
    if (line === '' || line.startsWith('#')) return [];
    const at = line.indexOf('=');
    const name = at < 0 ? line : line.slice(0, at);
    if (name === '' || /[ \t]/.test(name))
      throw new RangeError(`line ${n + 1}: expected NAME=value, got "${line}"`);
    return [[name, at < 0 ? null : line.slice(at + 1)] as const];
  });
  return Object.fromEntries(entries);
}

/**
 * What a service's tasks see, the later part winning; what has no value, or an empty one, takes that of the manifest's
 * variable of this name.
 * @param files contents of the env files that were found, by the path that the compose file gives
 */
export function resolveEnvironment(
  parts: readonly EnvironmentPart[],
  files: ReadonlyMap<string, Uint8Array>,
  variables: Variables,
): Environment {
  const given = parts.map((part): Environment => {
    if ('values' in part) return part.values;
    const content = files.get(part.path);
    const all = Object.entries(content ? parseEnvFile(new TextDecoder().decode(content)) : {});
    // Of a file, what has no value anywhere is not said at all.
    return Object.fromEntries(
      all.filter(([name, value]) => value !== null || Object.hasOwn(variables, name)),
    );
  });
  const entries = given.flatMap((each) =>
    Object.entries(each).map(([name, value]) => {
      const outer = Object.hasOwn(variables, name) ? variables[name] : undefined;
      return [name, value === null || value === '' ? (outer ?? value) : value] as const;
    }),
  );
  return Object.fromEntries(entries);
}
