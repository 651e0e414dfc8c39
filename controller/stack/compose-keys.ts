import type { ComposeIssue } from './check-compose.ts';

/** Of a key that compose knows and a swarm does not honour: what becomes of it, and what a person should do or know. */
export interface Verdict {
  readonly verdict: 'ignored' | 'refused';
  readonly why: string;
}

const ignored = (why: string): Verdict => ({ verdict: 'ignored', why });
const refused = (why: string): Verdict => ({ verdict: 'refused', why });

const NODE_LEVEL = 'a swarm service cannot reach so far into its node';
const SET_LIMITS = 'use deploy.resources';
const IN_FILES = 'write the service out here, or use an anchor and a merge';
const ADDRESSES = 'the swarm gives out the addresses';

/**
 * Every key that compose knows and we do not honour; the rest is honoured, and what is in neither is a typo. Ignored is
 * what `docker stack deploy` ignores, and what changes nothing for a task; refused is what it forbids, and what a task
 * would miss. A path's `*` is any name, `[]` any entry of a list.
 */
export const UNHONOURED_KEYS: Readonly<Record<string, Verdict>> = {
  name: ignored('the manifest names the stack'),
  include: refused('a stack has its files in the manifest: compose, and overrides'),
  models: refused('a swarm runs services'),

  'services.*.annotations': ignored('a swarm service has none'),
  'services.*.attach': ignored('nobody looks at the output of a service'),
  'services.*.blkio_config': refused(NODE_LEVEL),
  'services.*.build': ignored('nodes run images that were built beforehand'),
  'services.*.cgroup': ignored(NODE_LEVEL),
  'services.*.cgroup_parent': ignored(NODE_LEVEL),
  'services.*.cgroupns_mode': ignored(NODE_LEVEL),
  'services.*.container_name': ignored('the swarm names its containers'),
  'services.*.cpu_count': refused(SET_LIMITS),
  'services.*.cpu_percent': refused(SET_LIMITS),
  'services.*.cpu_period': refused(SET_LIMITS),
  'services.*.cpu_quota': refused(SET_LIMITS),
  'services.*.cpu_rt_period': refused(SET_LIMITS),
  'services.*.cpu_rt_runtime': refused(SET_LIMITS),
  'services.*.cpu_shares': refused(SET_LIMITS),
  'services.*.cpus': refused('use deploy.resources.limits.cpus'),
  'services.*.cpuset': refused(SET_LIMITS),
  'services.*.depends_on.*.restart': ignored('a task finds the new ones of another service by its name'),
  'services.*.deploy.resources.reservations.devices': refused('use generic_resources'),
  'services.*.develop': ignored('it is for docker compose watch'),
  'services.*.device_cgroup_rules': refused(NODE_LEVEL),
  'services.*.devices': ignored(NODE_LEVEL),
  'services.*.dns_opt': refused('a swarm service has dns and dns_search only'),
  'services.*.domainname': ignored('use hostname'),
  'services.*.env_file[].format': ignored('values are taken as they stand, quotes and all'),
  'services.*.expose': ignored('services of one network reach every port of each other'),
  'services.*.extends': refused(IN_FILES),
  'services.*.external_links': ignored('use an external network'),
  'services.*.gpus': refused('use deploy.resources.reservations.generic_resources'),
  'services.*.group_add': refused('use user'),
  'services.*.ipc': ignored(NODE_LEVEL),
  'services.*.label_file': refused('write them under labels'),
  'services.*.links': ignored('services of one network find each other by name'),
  'services.*.mac_address': ignored(ADDRESSES),
  'services.*.mem_limit': refused('use deploy.resources.limits.memory'),
  'services.*.mem_reservation': refused('use deploy.resources.reservations.memory'),
  'services.*.mem_swappiness': refused(SET_LIMITS),
  'services.*.memswap_limit': refused(SET_LIMITS),
  'services.*.models': refused('a swarm runs services'),
  'services.*.network_mode': ignored('use networks'),
  'services.*.networks.*.gw_priority': ignored('the swarm chooses the way out'),
  'services.*.networks.*.interface_name': ignored('the engine names interfaces'),
  'services.*.networks.*.ipv4_address': ignored(ADDRESSES),
  'services.*.networks.*.ipv6_address': ignored(ADDRESSES),
  'services.*.networks.*.link_local_ips': ignored(ADDRESSES),
  'services.*.networks.*.mac_address': ignored(ADDRESSES),
  'services.*.networks.*.priority': ignored('tasks are in all their networks at once'),
  'services.*.oom_kill_disable': refused(NODE_LEVEL),
  'services.*.pid': ignored(NODE_LEVEL),
  'services.*.pids_limit': refused('use deploy.resources.limits.pids'),
  'services.*.platform': ignored('a task runs where its image does'),
  'services.*.ports[].app_protocol': ignored('a port carries bytes'),
  'services.*.ports[].host_ip': ignored('a swarm publishes on every address of a node'),
  'services.*.ports[].name': ignored('ports have numbers'),
  'services.*.post_start': refused('let the command do it'),
  'services.*.pre_stop': refused('let the command do it when it gets stop_signal'),
  'services.*.privileged': ignored(NODE_LEVEL),
  'services.*.profiles': refused(
    'all services of a stack run: leave it out here, and have it in an override',
  ),
  'services.*.provider': refused('a swarm runs services'),
  'services.*.pull_policy': ignored('images are delivered to the nodes'),
  'services.*.pull_refresh_after': ignored('images are delivered to the nodes'),
  'services.*.runtime': refused(NODE_LEVEL),
  'services.*.scale': refused('use deploy.replicas'),
  'services.*.security_opt': ignored(NODE_LEVEL),
  'services.*.shm_size': ignored('mount a tmpfs volume on /dev/shm'),
  'services.*.storage_opt': refused(NODE_LEVEL),
  'services.*.use_api_socket': refused(NODE_LEVEL),
  'services.*.userns_mode': ignored(NODE_LEVEL),
  'services.*.uts': refused(NODE_LEVEL),
  'services.*.volume_driver': refused('declare the volume under volumes, with its driver'),
  'services.*.volumes[].bind.create_host_path': ignored('the folder has to be there'),
  'services.*.volumes[].bind.recursive': ignored('what is mounted below comes along'),
  'services.*.volumes[].bind.selinux': ignored('a swarm service has no such label'),
  'services.*.volumes[].image': refused('a swarm service mounts no images'),
  'services.*.volumes[].volume.labels': ignored('give them to the volume, under volumes'),
  'services.*.volumes_from': refused('use a named volume'),

  'networks.*.enable_ipv4': refused('an overlay has addresses of both kinds by itself'),
  'networks.*.enable_ipv6': refused('an overlay is of IPv4'),

  // Of volumes of a storage plugin, which a stack does not bring into being.
  'volumes.*.x-cluster-spec': ignored('make the volume by hand, and call it external'),
};

/** Of values that the CLI takes and that mean less than they seem to: what they are taken for. */
const ADVICE: readonly { readonly at: string; readonly like: RegExp; readonly why: string }[] = [
  {
    at: 'services.*.ports[]',
    like: /^(\[.*\]|(?!0\.0\.0\.0:)[\d.]+):\d*(-\d+)?:\d/,
    why: 'the address is ignored: a swarm publishes on every address of a node',
  },
  {
    at: 'services.*.command',
    like: /(^|\s)([|&;<>()]|&&|\|\|)(\s|$)/,
    why: 'taken as words: for a shell write ["sh", "-c", "..."]',
  },
  {
    at: 'services.*.extra_hosts[]',
    like: /^[^:=]*$/,
    why: 'ignored: it has no address',
  },
  { at: 'services.*.restart', like: /./, why: 'deploy.restart_policy says it, and more' },
  { at: 'services.*.configs[].mode', like: /^[1-9][0-7]{2,3}$/, why: 'a decimal number: octal is 0444' },
  { at: 'services.*.secrets[].mode', like: /^[1-9][0-7]{2,3}$/, why: 'a decimal number: octal is 0444' },
  ...['networks', 'volumes', 'secrets', 'configs'].map((kind) => ({
    at: `${kind}.*.external.name`,
    like: /./,
    why: 'external is deprecated in this form: write external: true, and name',
  })),
];

/** Where an empty value, as of `${NAME:-}`, means that nothing was said: as for the CLI. */
const EMPTY_SAYS_NOTHING: readonly RegExp[] = [
  /^(networks|volumes|configs|secrets)\.\*\.name$/,
  /^(configs|secrets)\.\*\.(template_)?driver$/,
  /^services\.\*\.(configs|secrets)\[\]\.target$/,
  /^services\.\*\.deploy\.(mode|endpoint_mode|restart_policy\.condition|(update|rollback)_config\.failure_action)$/,
  /^services\.\*\.deploy\.resources\.(limits|reservations)\.cpus$/,
  /^services\.\*\.healthcheck\.test$/,
  /^services\.\*\.ports\[\]\.(mode|protocol)$/,
  /^services\.\*\.volumes\[\]\.(source|bind\.propagation)$/,
];

/** A compose file's tree without the keys that nobody honours, and what is to be said of them. */
export interface SortedKeys {
  readonly tree: unknown;
  readonly warnings: readonly ComposeIssue[];
  readonly issues: readonly ComposeIssue[];
}

type Path = readonly PropertyKey[];
type Visit = (value: unknown, path: Path, pattern: string) => unknown;

/** Takes out what is ignored or refused: what is in it concerns nobody. */
export function sortKeys(tree: unknown): SortedKeys {
  const warnings: ComposeIssue[] = [];
  const issues: ComposeIssue[] = [];
  const rest = walk(tree, [], '', (value, path, pattern) => {
    if (path.at(-1) === '__proto__')
      issues.push({ path, message: 'nothing can have this name', keyIsWrong: true });
    const found = Object.hasOwn(UNHONOURED_KEYS, pattern) ? UNHONOURED_KEYS[pattern] : undefined;
    if (!found) return value;
    const into = found.verdict === 'ignored' ? warnings : issues;
    const what = found.verdict === 'ignored' ? 'ignored' : 'not supported';
    into.push({ path, message: `${what}: ${found.why}`, keyIsWrong: true });
    return undefined;
  });
  return { tree: rest, warnings, issues };
}

/** Takes out what says nothing. */
export const dropEmpty = (tree: unknown): unknown =>
  walk(tree, [], '', (value, _path, pattern) => {
    const isEmpty = value === '' || (Array.isArray(value) && value.length === 0);
    return isEmpty && EMPTY_SAYS_NOTHING.some((it) => it.test(pattern)) ? undefined : value;
  });

/** What people should know of values that are taken as they are. */
export function adviseOn(tree: unknown): readonly ComposeIssue[] {
  const warnings: ComposeIssue[] = [];
  walk(tree, [], '', (value, path, pattern) => {
    const found = ADVICE.find(
      ({ at, like }) => at === pattern && typeof value === 'string' && like.test(value),
    );
    if (found) warnings.push({ path, message: found.why });
    return value;
  });
  return warnings;
}

/** Rebuilds the tree of what `visit` gives for each value; undefined leaves it out. */
function walk(node: unknown, path: Path, pattern: string, visit: Visit): unknown {
  if (Array.isArray(node)) return node.map((each, n) => below(each, [...path, n], `${pattern}[]`, visit));
  if (typeof node !== 'object' || node === null) return node;
  const entries = Object.entries(node).map(
    ([key, each]) => [key, below(each, [...path, key], patternOf(pattern, key), visit)] as const,
  );
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function below(value: unknown, path: Path, pattern: string, visit: Visit): unknown {
  const kept = visit(value, path, pattern);
  return kept === undefined ? undefined : walk(kept, path, pattern, visit);
}

/** Names that the file chooses. */
const NAMED = new Set([
  ...['services', 'networks', 'volumes', 'secrets', 'configs'],
  ...['services.*.networks', 'services.*.depends_on'],
]);

const patternOf = (at: string, key: string): string =>
  at === '' ? key : `${at}.${NAMED.has(at) ? '*' : key}`;
