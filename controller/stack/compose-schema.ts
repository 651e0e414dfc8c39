import { isIP } from 'node:net';
import { z } from 'zod';
import { textLike } from '../../crds/fields.ts';
import {
  boolean,
  bytes,
  durationNs,
  either,
  fields,
  fileMode,
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
import { splitCommand } from './split-command.ts';

const labels = mapOrList('');

/** A text is split as a shell would; a list is taken as it is. */
const command = shortOr<readonly string[]>(readBy(splitCommand), textList);

const healthcheck = fields({
  test: shortOr<readonly string[]>(
    text.transform((it) => ['CMD-SHELL', it]),
    textList.min(1),
  ).exactOptional(),
  interval: durationNs.exactOptional(),
  timeout: durationNs.exactOptional(),
  start_period: durationNs.exactOptional(),
  retries: wholeNumber.exactOptional(),
  disable: boolean.exactOptional(),
});

const attachment = fields({ aliases: textList.exactOptional(), driver_opts: labels.exactOptional() });
type Attachment = z.output<typeof attachment>;
const serviceNetworks = either<Readonly<Record<string, Attachment>>>((value) =>
  Array.isArray(value)
    ? textList.transform((names) => Object.fromEntries(names.map((name) => [name, {}])))
    : z.record(
        text,
        attachment.nullable().transform((it): Attachment => it ?? {}),
      ),
);

const volumeMount = fields({
  type: z.enum(['volume', 'bind', 'tmpfs']),
  source: nonEmptyText.exactOptional(),
  target: nonEmptyText,
  read_only: boolean.exactOptional(),
  bind: fields({ propagation: text.exactOptional() }).exactOptional(),
  volume: fields({ nocopy: boolean.exactOptional() }).exactOptional(),
  tmpfs: fields({ size: bytes.exactOptional() }).exactOptional(),
});
export type VolumeMount = z.output<typeof volumeMount>;

const portNumber = textLike(/^\d{1,5}$/, 'a port')
  .transform(Number)
  .pipe(z.number().min(1).max(65535));
const port = fields({
  target: portNumber,
  published: portNumber.exactOptional(),
  protocol: z.enum(['tcp', 'udp', 'sctp']).default('tcp'),
  mode: z.enum(['ingress', 'host']).default('ingress'),
});
export type Port = z.output<typeof port>;

const mountedFile = fields({
  source: nonEmptyText,
  target: nonEmptyText.exactOptional(),
  uid: text.exactOptional(),
  gid: text.exactOptional(),
  mode: fileMode.exactOptional(),
});
export type MountedComposeFile = z.output<typeof mountedFile>;
const mountedFiles = z.array(
  shortOr<MountedComposeFile>(
    nonEmptyText.transform((source) => ({ source })),
    mountedFile,
  ),
);

const ulimit = shortOr<{ readonly soft: number; readonly hard: number }>(
  wholeNumber.transform((it) => ({ soft: it, hard: it })),
  fields({ soft: wholeNumber, hard: wholeNumber }),
);

const updateConfig = fields({
  parallelism: wholeNumber.exactOptional(),
  delay: durationNs.exactOptional(),
  failure_action: z.enum(['continue', 'pause', 'rollback']).exactOptional(),
  monitor: durationNs.exactOptional(),
  max_failure_ratio: number.exactOptional(),
  order: z.enum(['stop-first', 'start-first']).exactOptional(),
});
export type ComposeUpdateConfig = z.output<typeof updateConfig>;

const constraint = textLike(
  /^\s*(node\.(id|hostname|role|ip|platform\.(os|arch)|labels\.[\w./-]+)|engine\.labels\.[\w./-]+)\s*(==|!=)\s*\S+\s*$/,
  'a constraint such as node.labels.place==compute',
);

const deploy = fields({
  mode: z.enum(['replicated', 'global']).default('replicated'),
  replicas: wholeNumber.exactOptional(),
  endpoint_mode: z.enum(['vip', 'dnsrr']).default('vip'),
  labels: labels.exactOptional(),
  placement: fields({
    constraints: z.array(constraint).exactOptional(),
    max_replicas_per_node: wholeNumber.exactOptional(),
  }).exactOptional(),
  resources: fields({
    limits: fields({
      cpus: nanoCpus.exactOptional(),
      memory: bytes.exactOptional(),
      pids: wholeNumber.exactOptional(),
    }).exactOptional(),
    reservations: fields({ cpus: nanoCpus.exactOptional(), memory: bytes.exactOptional() }).exactOptional(),
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

const extraHosts = either<readonly string[]>((value) =>
  Array.isArray(value)
    ? z.array(readBy(readExtraHost))
    : z.record(text, text).transform((hosts) =>
        Object.entries(hosts)
          .map(([host, ip]) => `${ip} ${host}`)
          .sort(),
      ),
);

const logging = fields({ driver: text.exactOptional(), options: labels.exactOptional() });

const service = fields({
  image: nonEmptyText,
  command: command.exactOptional(),
  entrypoint: command.exactOptional(),
  environment: mapOrList(undefined).exactOptional(),
  hostname: text.exactOptional(),
  networks: serviceNetworks.exactOptional(),
  volumes: z.array(shortOr<VolumeMount>(readBy(readVolume), volumeMount)).exactOptional(),
  configs: mountedFiles.exactOptional(),
  secrets: mountedFiles.exactOptional(),
  ports: z.array(shortOr<Port>(readBy(readPort), port)).exactOptional(),
  deploy: deploy.exactOptional(),
  healthcheck: healthcheck.exactOptional(),
  stop_grace_period: durationNs.exactOptional(),
  stop_signal: text.exactOptional(),
  labels: labels.exactOptional(),
  user: text.exactOptional(),
  working_dir: text.exactOptional(),
  read_only: boolean.exactOptional(),
  init: boolean.exactOptional(),
  cap_add: textList.exactOptional(),
  cap_drop: textList.exactOptional(),
  ulimits: z.record(text, ulimit).exactOptional(),
  sysctls: labels.exactOptional(),
  extra_hosts: extraHosts.exactOptional(),
  dns: oneOrMore.exactOptional(),
  dns_search: oneOrMore.exactOptional(),
  logging: logging.exactOptional(),
});
export type ComposeService = z.output<typeof service>;

const network = fields({
  name: nonEmptyText.exactOptional(),
  external: boolean.exactOptional(),
  driver: text.exactOptional(),
  driver_opts: labels.exactOptional(),
  attachable: boolean.exactOptional(),
  internal: boolean.exactOptional(),
  labels: labels.exactOptional(),
  ipam: fields({
    driver: text.exactOptional(),
    config: z.array(fields({ subnet: nonEmptyText })).exactOptional(),
  }).exactOptional(),
});
export type ComposeNetwork = z.output<typeof network>;

const volume = fields({
  name: nonEmptyText.exactOptional(),
  external: boolean.exactOptional(),
  driver: text.exactOptional(),
  driver_opts: labels.exactOptional(),
  labels: labels.exactOptional(),
});

const file = {
  name: nonEmptyText.exactOptional(),
  external: boolean.exactOptional(),
  file: nonEmptyText.exactOptional(),
  labels: labels.exactOptional(),
};
const secret = fields(file);
const config = fields({ ...file, content: text.exactOptional() });
export type ComposeFile = z.output<typeof config>;

/** A key with nothing after it, as in `volumes: { data: }`, asks for the defaults. */
const named = <T extends object>(one: z.ZodType<T>) =>
  z
    .record(
      text,
      one.nullable().transform((it): T => it ?? ({} as T)),
    )
    .default({});

/** The subset of compose that a stack may use; its output is the model that `convertStack` takes. */
export const composeSchema = fields({
  // Obsolete, and in every file.
  version: text.exactOptional(),
  services: z
    .record(textLike(/^[a-zA-Z0-9][\w.-]*$/, 'a service name of letters, digits, dots and dashes'), service)
    .refine((it) => Object.keys(it).length > 0, { error: 'a stack has at least one service' }),
  networks: named(network),
  volumes: named(volume),
  configs: named(config),
  secrets: named<ComposeFile>(secret),
});

/** A stack as its file says it, short forms written out; names are those of the file. */
export type ComposeModel = z.output<typeof composeSchema>;

function readVolume(short: string): VolumeMount {
  const [source, target, options, ...more] = short.split(':');
  if (target === undefined || target === '' || source === '' || source === undefined || more.length > 0)
    throw new RangeError(`expected source:target or source:target:ro, got "${short}"`);
  const flags = options?.split(',') ?? [];
  const strange = flags.find((flag) => !['ro', 'rw', 'nocopy'].includes(flag));
  if (strange !== undefined)
    throw new RangeError(`volume option "${strange}" is not supported: use ro, rw or nocopy`);
  return {
    type: /^[./~]/.test(source) ? 'bind' : 'volume',
    source,
    target,
    ...(flags.includes('ro') && { read_only: true }),
    ...(flags.includes('nocopy') && { volume: { nocopy: true } }),
  };
}

function readPort(short: string): Port {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(short);
  if (match === null)
    throw new RangeError(`expected a port such as "8080:80" (no address, no range), got "${short}"`);
  const [, published, target = '', protocol = 'tcp'] = match;
  return port.parse({ target, ...(published !== undefined && { published }), protocol });
}

function readExtraHost(line: string): string {
  const [, host, ip = ''] = /^([^:=]+)[:=](.+)$/.exec(line) ?? [];
  if (host === undefined || isIP(ip) === 0) throw new RangeError(`expected host:address, got "${line}"`);
  return `${ip} ${host}`;
}
