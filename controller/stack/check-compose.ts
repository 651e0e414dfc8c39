import { didYouMean } from '../../crds/explain-issue.ts';
import type { ComposeFile, ComposeModel, ComposeService } from './compose-schema.ts';
import type { VolumeMount } from './read-volume.ts';

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
  if (Object.keys(model.services).length === 0)
    return [{ path: ['services'], message: 'a stack has at least one service' }];
  return [
    ...Object.entries(model.services).flatMap(([name, service]) =>
      checkService(model, service, ['services', name]),
    ),
    ...checkDependencies(model),
    ...checkIngress(model),
    ...checkFiles(model.configs, 'configs', ['file', 'content', 'environment']),
    ...checkFiles(model.secrets, 'secrets', ['file', 'content', 'environment', 'driver']),
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
    ...(service.tmpfs ?? []).flatMap((it, n) => checkMount(it, [...at, 'tmpfs', n])),
    ...(service.image === undefined ? [{ path: at, message: 'missing, expected image' }] : []),
    ...checkDuplicates(service, at),
    ...checkDeploy(service, at),
    ...checkCredentials(model, service, at),
  ];
}

/** A service waits for others: for those that are there, that can come to what is awaited, and not in a circle. */
function checkDependencies({ services }: ComposeModel): readonly ComposeIssue[] {
  const circles = inCircles(services);
  return Object.entries(services).flatMap(([name, { depends_on = {} }]): readonly ComposeIssue[] => {
    const path = ['services', name, 'depends_on'];
    const wrong = Object.entries(depends_on).flatMap(([other, { condition, required }]) => {
      const found = Object.hasOwn(services, other) ? services[other] : undefined;
      if (!found) return required === false ? [] : [undeclared('services', other, Object.keys(services))];
      const ends = found.deploy?.mode?.endsWith('-job') === true;
      if (ends || condition !== 'service_completed_successfully') return [];
      return [`${other} never completes: its deploy.mode would be replicated-job or global-job`];
    });
    const all = circles.has(name) ? [...wrong, `${name} would wait for itself`] : wrong;
    return all.map((message) => ({ path, message }));
  });
}

function inCircles(services: ComposeModel['services']): ReadonlySet<string> {
  let open = new Map(Object.entries(services).map(([name, it]) => [name, Object.keys(it.depends_on ?? {})]));
  // Who needs nobody any more is out, until nothing is left but circles and what needs one.
  for (let size = -1; size !== open.size; ) {
    size = open.size;
    open = new Map([...open].filter(([, needs]) => needs.some((it) => open.has(it))));
  }
  const reachesItself = (name: string): boolean => {
    const reached = new Set<string>();
    const queue = [...(open.get(name) ?? [])];
    for (let next = queue.pop(); next !== undefined && next !== name; next = queue.pop()) {
      if (!reached.has(next)) queue.push(...(open.get(next) ?? []));
      reached.add(next);
    }
    return reached.size > 0 || queue.length > 0;
  };
  return new Set([...open.keys()].filter(reachesItself));
}

function checkCredentials(model: ComposeModel, { credential_spec }: ComposeService, at: Path) {
  const path = [...at, 'credential_spec'];
  const given = Object.keys(credential_spec ?? {});
  if (given.length > 1) return [{ path, message: `${given.join(' and ')} exclude each other` }];
  const { config } = credential_spec ?? {};
  if (config === undefined || Object.hasOwn(model.configs, config)) return [];
  return [{ path, message: undeclared('configs', config, Object.keys(model.configs)) }];
}

const undeclared = (kind: string, name: string, names: readonly string[]): string =>
  `"${name}" is not declared under ${kind}${didYouMean(name, names)}`;

function checkMount(mount: VolumeMount, path: Path): readonly ComposeIssue[] {
  const issue = (message: string) => [{ path, message }];
  if (mount.type === 'npipe') return [];
  if (!mount.target.startsWith('/'))
    return issue(`expected an absolute path in the container, got "${mount.target}"`);
  const strange = (['bind', 'volume', 'tmpfs'] as const).find(
    (it) => it !== mount.type && mount[it] !== undefined,
  );
  if (strange !== undefined) return issue(`${strange} says nothing about a mount of type ${mount.type}`);
  if (mount.type === 'tmpfs' && mount.source !== undefined) return issue('a tmpfs has no source');
  const needsSource = mount.type === 'bind' || mount.type === 'cluster';
  return needsSource && mount.source === undefined ? issue(`a ${mount.type} has a source`) : [];
}

/** The engine refuses two things at one place, one service at a time and in its own words. */
function checkDuplicates(service: ComposeService, at: Path): readonly ComposeIssue[] {
  const twice = (kind: string, places: readonly string[]) => {
    const taken = new Set<string>();
    return places.flatMap((place, n) => {
      const isFree = !taken.has(place);
      taken.add(place);
      return isFree ? [] : [{ path: [...at, kind, n], message: `${place} is taken by an earlier entry` }];
    });
  };
  const published = (service.ports ?? []).map((it, n) =>
    !it.published ? `entry ${n}` : `port ${it.published}/${it.protocol ?? 'tcp'}`,
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

/** A port of mode ingress is the whole swarm's; of mode host, several services may have one, on other nodes. */
function checkIngress({ services }: ComposeModel): readonly ComposeIssue[] {
  const published = Object.entries(services).flatMap(([service, { ports = [] }]) =>
    ports.flatMap(({ published, protocol = 'tcp', mode }, n) =>
      published ? [{ service, n, port: `${published}/${protocol}`, isHost: mode === 'host' }] : [],
    ),
  );
  const byPort = new Map<string, typeof published>();
  return published.flatMap((mine) => {
    const { service, n, port, isHost } = mine;
    const earlier = byPort.get(port) ?? [];
    byPort.set(port, [...earlier, mine]);
    const taken = earlier.find((it) => it.service !== service && !(it.isHost && isHost));
    const message = `port ${port} is taken by service ${taken?.service}`;
    return taken ? [{ path: ['services', service, 'ports', n], message }] : [];
  });
}

function checkDeploy(service: ComposeService, at: Path): readonly ComposeIssue[] {
  const { deploy, ports = [] } = service;
  const startFirst = deploy?.update_config?.order === 'start-first';
  const portIssues = ports.flatMap(({ mode }, n): ComposeIssue[] => {
    const path = [...at, 'ports', n];
    if (deploy?.endpoint_mode === 'dnsrr' && mode !== 'host')
      return [{ path, message: 'endpoint_mode dnsrr has no ingress: publish with mode: host' }];
    if (startFirst && mode === 'host')
      return [{ path, message: 'with update order start-first the new task never gets a port of mode host' }];
    return [];
  });
  const { mode = 'replicated', replicas, update_config, rollback_config } = deploy ?? {};
  const wrong = (key: string, message: string) => [{ path: [...at, 'deploy', key], message }];
  const isJob = mode.endsWith('-job');
  return [
    ...portIssues,
    ...(mode.startsWith('global') && replicas !== undefined
      ? wrong('replicas', 'a global service has one task a node')
      : []),
    ...(isJob && update_config ? wrong('update_config', 'a job is not updated step by step') : []),
    ...(isJob && rollback_config ? wrong('rollback_config', 'a job is not rolled back') : []),
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
  sources: readonly ('file' | 'content' | 'environment' | 'driver')[],
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
