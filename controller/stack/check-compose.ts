import { didYouMean } from '../../crds/explain-issue.ts';
import type { ComposeFile, ComposeModel, ComposeService, VolumeMount } from './compose-schema.ts';

/** What is wrong at one place of the tree. */
export interface ComposeIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** The key itself is wrong, not its value. */
  readonly keyIsWrong?: boolean;
}

type Path = readonly PropertyKey[];

/** What no single field can know: references to what is not declared, and combinations that a swarm refuses. */
export function checkCompose(model: ComposeModel): readonly ComposeIssue[] {
  return [
    ...Object.entries(model.services).flatMap(([name, service]) =>
      checkService(model, service, ['services', name]),
    ),
    ...checkFiles(model.configs, 'configs', ['file', 'content']),
    ...checkFiles(model.secrets, 'secrets', ['file']),
    ...checkExternal(model.networks, 'networks'),
    ...checkExternal(model.volumes, 'volumes'),
  ];
}

function checkService(model: ComposeModel, service: ComposeService, at: Path): readonly ComposeIssue[] {
  const declared = (kind: 'networks' | 'configs' | 'secrets' | 'volumes', name: string, path: Path) =>
    Object.hasOwn(model[kind], name)
      ? []
      : [{ path, message: undeclared(kind, name, Object.keys(model[kind])) }];
  const networks = Object.keys(service.networks ?? {}).filter((name) => name !== 'default');
  return [
    ...networks.flatMap((name) => declared('networks', name, [...at, 'networks', name])),
    ...(service.configs ?? []).flatMap((it, n) => declared('configs', it.source, [...at, 'configs', n])),
    ...(service.secrets ?? []).flatMap((it, n) => declared('secrets', it.source, [...at, 'secrets', n])),
    ...(service.volumes ?? []).flatMap((it, n) => {
      const path = [...at, 'volumes', n];
      const named =
        it.type === 'volume' && it.source !== undefined ? declared('volumes', it.source, path) : [];
      return [...named, ...checkMount(it, path)];
    }),
    ...checkDuplicates(service, at),
    ...checkDeploy(service, at),
  ];
}

const undeclared = (kind: string, name: string, names: readonly string[]): string =>
  `"${name}" is not declared under ${kind}${didYouMean(name, names)}`;

function checkMount(mount: VolumeMount, path: Path): readonly ComposeIssue[] {
  const issue = (message: string) => [{ path, message }];
  if (!mount.target.startsWith('/'))
    return issue(`expected an absolute path in the container, got "${mount.target}"`);
  const strange = (['bind', 'volume', 'tmpfs'] as const).find(
    (it) => it !== mount.type && mount[it] !== undefined,
  );
  if (strange !== undefined) return issue(`${strange} says nothing about a mount of type ${mount.type}`);
  if (mount.type === 'tmpfs' && mount.source !== undefined) return issue('a tmpfs has no source');
  if (mount.type !== 'bind') return [];
  if (mount.source?.startsWith('/') === true) return [];
  return issue(`expected an absolute path on the node, got "${mount.source ?? ''}"`);
}

/** The engine refuses two things at one place, one service at a time and in its own words. */
function checkDuplicates(service: ComposeService, at: Path): readonly ComposeIssue[] {
  const twice = (kind: string, places: readonly string[]) =>
    places.flatMap((place, n) =>
      places.indexOf(place) < n
        ? [{ path: [...at, kind, n], message: `${place} is taken by an earlier entry` }]
        : [],
    );
  const published = (service.ports ?? []).map((it, n) =>
    it.published === undefined ? `entry ${n}` : `port ${it.published}/${it.protocol}`,
  );
  return [
    ...twice(
      'volumes',
      (service.volumes ?? []).map((it) => it.target),
    ),
    ...twice(
      'configs',
      (service.configs ?? []).map((it) => (it.target ?? it.source).replace(/^\/?/, '/')),
    ),
    ...twice(
      'secrets',
      (service.secrets ?? []).map((it) => it.target ?? it.source),
    ),
    ...twice('ports', published),
  ];
}

function checkDeploy(service: ComposeService, at: Path): readonly ComposeIssue[] {
  const { deploy, ports = [] } = service;
  const startFirst = deploy?.update_config?.order === 'start-first';
  const portIssues = ports.flatMap(({ mode }, n): ComposeIssue[] => {
    const path = [...at, 'ports', n];
    if (deploy?.endpoint_mode === 'dnsrr' && mode === 'ingress')
      return [{ path, message: 'endpoint_mode dnsrr has no ingress: publish with mode: host' }];
    if (startFirst && mode === 'host')
      return [{ path, message: 'with update order start-first the new task never gets a port of mode host' }];
    return [];
  });
  const isGlobal = deploy?.mode === 'global';
  const replicas = isGlobal && deploy.replicas !== undefined;
  return [
    ...portIssues,
    ...(replicas
      ? [{ path: [...at, 'deploy', 'replicas'], message: 'a global service has one task a node' }]
      : []),
    ...checkHealth(service, at),
  ];
}

function checkHealth({ healthcheck }: ComposeService, at: Path): readonly ComposeIssue[] {
  if (healthcheck?.disable !== true || healthcheck.test === undefined) return [];
  return [{ path: [...at, 'healthcheck'], message: 'disable and test exclude each other' }];
}

function checkFiles(
  files: Readonly<Record<string, ComposeFile>>,
  kind: string,
  sources: readonly ('file' | 'content')[],
): readonly ComposeIssue[] {
  return Object.entries(files).flatMap(([name, file]) => {
    if (file.external === true) return checkExternal({ [name]: file }, kind);
    const given = sources.filter((source) => file[source] !== undefined);
    if (given.length === 1) return [];
    return [{ path: [kind, name], message: `expected one of ${sources.join(', ')} or external: true` }];
  });
}

function checkExternal(
  objects: Readonly<Record<string, { external?: boolean }>>,
  kind: string,
): readonly ComposeIssue[] {
  return Object.entries(objects).flatMap(([name, object]) => {
    if (object.external !== true) return [];
    const others = Object.keys(object).filter(
      (key) => key !== 'external' && key !== 'name' && !key.startsWith('x-'),
    );
    const message = 'an external object is taken as it is';
    return others.map((key) => ({ path: [kind, name, key], message, keyIsWrong: true }));
  });
}
