import { z } from 'zod';
import { textLike } from '../../crds/fields.ts';
import { IMAGE_REFERENCE } from '../swarm/image-reference.ts';
import { isMapping } from './compose-document.ts';
import {
  boolean,
  bytes,
  durationNs,
  either,
  fields,
  integer,
  mapOrList,
  nanoCpus,
  nonEmptyText,
  number,
  oneOrMore,
  readBy,
  shortOr,
  text,
  textList,
  wholeNumber,
} from './compose-fields.ts';
import { type Port, readPorts } from './read-ports.ts';
import { PROPAGATIONS, readTmpfs, readVolume, type VolumeMount } from './read-volume.ts';
import { splitCommand } from './split-command.ts';

const labels = mapOrList('');

/** A text is split as a shell would; a list is taken as it is. */
const command = shortOr<readonly string[]>(readBy(splitCommand), textList);

/** Zero is the engine's own; what is shorter it refuses. */
const healthTime = durationNs.refine((it) => it === 0 || it >= 1e6, { error: 'expected at least 1ms' });
/** By name, or names alone, which ask for the defaults. */
const listed = <T extends object>(one: z.ZodType<T>) =>
  either<Readonly<Record<string, T>>>((value) =>
    Array.isArray(value)
      ? textList.transform((names) => Object.fromEntries(names.map((name) => [name, {} as T])))
      : z.record(
          text,
          one.nullable().transform((it): T => it ?? ({} as T)),
        ),
  );

const healthcheck = fields({
  test: shortOr<readonly string[]>(
    text.transform((it) => ['CMD-SHELL', it]),
    textList.min(1),
  ).exactOptional(),
  interval: healthTime.exactOptional(),
  timeout: healthTime.exactOptional(),
  start_period: healthTime.exactOptional(),
  start_interval: healthTime.exactOptional(),
  retries: wholeNumber.exactOptional(),
  disable: boolean.exactOptional(),
});

const attachment = fields({ aliases: textList.exactOptional(), driver_opts: labels.exactOptional() });
export type Attachment = z.output<typeof attachment>;
const volumeMount: z.ZodType<VolumeMount> = fields({
  type: z.enum(['volume', 'bind', 'tmpfs', 'npipe', 'cluster']),
  source: nonEmptyText.exactOptional(),
  target: nonEmptyText,
  read_only: boolean.exactOptional(),
  consistency: text.exactOptional(),
  bind: fields({ propagation: z.enum(PROPAGATIONS).exactOptional() }).exactOptional(),
  volume: fields({ nocopy: boolean.exactOptional(), subpath: text.exactOptional() }).exactOptional(),
  tmpfs: fields({ size: bytes.exactOptional(), mode: wholeNumber.exactOptional() }).exactOptional(),
});

const portNumber = wholeNumber.pipe(z.number().min(1).max(65535));
const port: z.ZodType<Port> = fields({
  target: portNumber,
  // Zero is a port that the swarm chooses.
  published: wholeNumber.pipe(z.number().max(65535)).exactOptional(),
  protocol: z.enum(['tcp', 'udp', 'sctp']).exactOptional(),
  mode: z.enum(['ingress', 'host']).exactOptional(),
});
/** One text may name several. */
const ports = z
  .array(
    shortOr<readonly Port[]>(
      readBy(readPorts),
      port.transform((it) => [it]),
    ),
  )
  .transform((lists) => lists.flat());

const mountedFile = fields({
  source: nonEmptyText,
  target: nonEmptyText.exactOptional(),
  uid: text.exactOptional(),
  gid: text.exactOptional(),
  mode: wholeNumber.exactOptional(),
});
export type MountedComposeFile = z.output<typeof mountedFile>;
const mountedFiles = z.array(
  shortOr<MountedComposeFile>(
    nonEmptyText.transform((source) => ({ source })),
    mountedFile,
  ),
);

const ulimit = shortOr<{ readonly soft: number; readonly hard: number }>(
  integer.transform((it) => ({ soft: it, hard: it })),
  fields({ soft: integer, hard: integer }),
);

const updateConfig = fields({
  parallelism: wholeNumber.exactOptional(),
  delay: durationNs.exactOptional(),
  failure_action: z.enum(['continue', 'pause', 'rollback']).exactOptional(),
  monitor: durationNs.exactOptional(),
  max_failure_ratio: number.pipe(z.number().max(1)).exactOptional(),
  order: z.enum(['stop-first', 'start-first']).exactOptional(),
});
export type ComposeUpdateConfig = z.output<typeof updateConfig>;

const constraint = textLike(
  /^\s*(node\.(id|hostname|role|ip|platform\.(os|arch)|labels\.[\w./-]+)|engine\.labels\.[\w./-]+)\s*(==|!=)\s*\S+\s*$/,
  'a constraint such as node.labels.place==compute',
);

const discreteResource = fields({
  discrete_resource_spec: fields({ kind: nonEmptyText, value: integer }),
});

/** As little as the engine takes; zero is no limit. */
const cpus = nanoCpus.refine((it) => it === 0 || it >= 1e6, { error: 'expected at least 0.001' });
const memory = bytes.refine((it) => it === 0 || it >= 4 * 1024 ** 2, { error: 'expected at least 4M' });

const deploy = fields({
  mode: z.enum(['replicated', 'global', 'replicated-job', 'global-job']).exactOptional(),
  replicas: wholeNumber.exactOptional(),
  endpoint_mode: text
    .toLowerCase()
    .pipe(z.enum(['vip', 'dnsrr']))
    .exactOptional(),
  labels: labels.exactOptional(),
  placement: fields({
    constraints: z.array(constraint).exactOptional(),
    preferences: z.array(fields({ spread: nonEmptyText })).exactOptional(),
    max_replicas_per_node: wholeNumber.exactOptional(),
  }).exactOptional(),
  resources: fields({
    limits: fields({
      cpus: cpus.exactOptional(),
      memory: memory.exactOptional(),
      pids: wholeNumber.exactOptional(),
    }).exactOptional(),
    reservations: fields({
      cpus: cpus.exactOptional(),
      memory: memory.exactOptional(),
      generic_resources: z.array(discreteResource).exactOptional(),
    }).exactOptional(),
  }).exactOptional(),
  restart_policy: fields({
    condition: z.enum(['none', 'on-failure', 'any']).exactOptional(),
    delay: durationNs.exactOptional(),
    max_attempts: wholeNumber.exactOptional(),
    window: durationNs.exactOptional(),
  }).exactOptional(),
  update_config: updateConfig.exactOptional(),
  rollback_config: updateConfig.exactOptional(),
});
export type Deploy = z.output<typeof deploy>;

/** As `host:address`; one without an address says nothing. */
const extraHosts = either<readonly string[]>((value) =>
  Array.isArray(value)
    ? textList.transform((lines) => lines.flatMap(readExtraHost))
    : z.record(text, text.nullable()).transform((hosts) =>
        Object.entries(hosts)
          .flatMap(([host, ip]) => (ip === null ? [] : readExtraHost(`${host}:${ip}`)))
          .sort(),
      ),
);

const logging = fields({ driver: text.exactOptional(), options: labels.exactOptional() });

/** What must be so before the service starts. */
const dependency = fields({
  condition: z.enum(['service_started', 'service_healthy', 'service_completed_successfully']).exactOptional(),
  restart: boolean.exactOptional(),
  required: boolean.exactOptional(),
});
export type Dependency = z.output<typeof dependency>;
const envFile = fields({ path: nonEmptyText, required: boolean.exactOptional() });
export type EnvFile = z.output<typeof envFile>;
const envFiles = either<readonly EnvFile[]>((value) => {
  const one = shortOr<EnvFile>(
    nonEmptyText.transform((path) => ({ path })),
    envFile,
  );
  return Array.isArray(value) ? z.array(one) : one.transform((it) => [it]);
});

const credentialSpec = fields({
  config: text.exactOptional(),
  file: text.exactOptional(),
  registry: text.exactOptional(),
});

const image = textLike(IMAGE_REFERENCE, 'an image such as name:tag');

const writtenService = fields({
  image: image.exactOptional(),
  command: command.exactOptional(),
  entrypoint: command.exactOptional(),
  environment: mapOrList(null).exactOptional(),
  env_file: envFiles.exactOptional(),
  hostname: text.exactOptional(),
  networks: listed(attachment).exactOptional(),
  volumes: z.array(shortOr<VolumeMount>(readBy(readVolume), volumeMount)).exactOptional(),
  tmpfs: either<readonly VolumeMount[]>((value) => {
    const one = readBy(readTmpfs);
    return Array.isArray(value) ? z.array(one) : one.transform((it) => [it]);
  }).exactOptional(),
  configs: mountedFiles.exactOptional(),
  secrets: mountedFiles.exactOptional(),
  ports: ports.exactOptional(),
  deploy: deploy
    .nullable()
    .transform((it): Deploy => it ?? {})
    .exactOptional(),
  depends_on: listed(dependency).exactOptional(),
  healthcheck: healthcheck.exactOptional(),
  restart: textLike(
    /^(no|always|unless-stopped|on-failure(:\d+)?|)$/,
    'no, always, on-failure or unless-stopped',
  ).exactOptional(),
  stop_grace_period: durationNs.exactOptional(),
  stop_signal: text.exactOptional(),
  labels: labels.exactOptional(),
  user: text.exactOptional(),
  working_dir: text.exactOptional(),
  read_only: boolean.exactOptional(),
  init: boolean.exactOptional(),
  isolation: text.exactOptional(),
  stdin_open: boolean.exactOptional(),
  tty: boolean.exactOptional(),
  oom_score_adj: integer.exactOptional(),
  credential_spec: credentialSpec.exactOptional(),
  cap_add: textList.exactOptional(),
  cap_drop: textList.exactOptional(),
  ulimits: z.record(text, ulimit).exactOptional(),
  sysctls: labels.exactOptional(),
  extra_hosts: extraHosts.exactOptional(),
  dns: oneOrMore.exactOptional(),
  dns_search: oneOrMore.exactOptional(),
  logging: logging.exactOptional(),
});
/** What of a service's environment comes later wins. */
const service = writtenService.transform(({ env_file, environment, ...rest }) => {
  const own: readonly EnvironmentPart[] = environment === undefined ? [] : [{ values: environment }];
  const parts = [...(env_file ?? []), ...own];
  return { ...rest, ...(parts.length > 0 && { environment: parts }) };
});
export type ComposeService = z.output<typeof service>;
/** Variables of a file, or those that are written out; null has its value from the variables of the manifest. */
export type EnvironmentPart = EnvFile | { readonly values: Readonly<Record<string, string | null>> };

/** What may be of somebody else. */
const shared = <S extends z.core.$ZodShape>(shape: S) =>
  z.preprocess(
    writtenToday,
    fields({ name: nonEmptyText.exactOptional(), external: boolean.exactOptional(), ...shape }),
  );

const SUBNET = /^[\da-fA-F:.]+\/\d{1,3}$/;
const network = shared({
  driver: text.exactOptional(),
  driver_opts: labels.exactOptional(),
  attachable: boolean.exactOptional(),
  internal: boolean.exactOptional(),
  labels: labels.exactOptional(),
  ipam: fields({
    driver: text.exactOptional(),
    options: labels.exactOptional(),
    config: z
      .array(
        fields({
          subnet: textLike(SUBNET, 'a subnet such as 10.1.0.0/24').exactOptional(),
          ip_range: text.exactOptional(),
          gateway: text.exactOptional(),
          aux_addresses: labels.exactOptional(),
        }),
      )
      .exactOptional(),
  }).exactOptional(),
});
export type ComposeNetwork = z.output<typeof network>;

const volume = shared({
  driver: text.exactOptional(),
  driver_opts: labels.exactOptional(),
  labels: labels.exactOptional(),
});
export type ComposeVolume = z.output<typeof volume>;

const file = shared({
  file: nonEmptyText.exactOptional(),
  content: text.exactOptional(),
  environment: nonEmptyText.exactOptional(),
  labels: labels.exactOptional(),
  driver: nonEmptyText.exactOptional(),
  driver_opts: labels.exactOptional(),
  template_driver: nonEmptyText.exactOptional(),
});
export type ComposeFile = z.output<typeof file>;

/** A key with nothing after it, as in `volumes: { data: }`, asks for the defaults. */
const named = <T extends object>(one: z.ZodType<T>) =>
  z
    .record(
      text,
      one.nullable().transform((it): T => it ?? ({} as T)),
    )
    .nullable()
    .transform((it) => it ?? {})
    .default({});

/** What one compose file may say; the model of a stack is all its files' together. */
export const composeSchema = fields({
  // Obsolete, and in every file.
  version: text.exactOptional(),
  services: z
    .record(
      textLike(/^[-_]*[a-zA-Z0-9]+([-_]+[a-zA-Z0-9]+)*$/, 'a service name of letters, digits, - and _'),
      service,
    )
    .default({}),
  networks: named(network),
  volumes: named(volume),
  configs: named(file),
  secrets: named(file),
});

/** A stack as its files say it, short forms written out; names are those of the files. */
export type ComposeModel = z.output<typeof composeSchema>;

/** `external: { name }` is how it was said before version 3.4; both names at once stay as they are, and are refused. */
function writtenToday(value: unknown): unknown {
  if (!isMapping(value) || !isMapping(value.external)) return value;
  const { name, ...more } = value.external;
  const says = Object.keys(more).length > 0 || (name !== undefined && value.name !== undefined);
  return says ? value : { ...value, external: 'true', ...(name !== undefined && { name }) };
}

function readExtraHost(line: string): readonly string[] {
  const [, host, ip] = /^([^=]*)=(.*)$/.exec(line) ?? /^([^:]*):(.*)$/.exec(line) ?? [];
  return ip === undefined ? [] : [`${host}:${ip.replace(/^\[(.+)\]$/, '$1')}`];
}
