/** A swarm's object as the API gives it, or its spec. */
export type Tree = Readonly<Record<string, unknown>>;

/** Labels that only we put on what we make. */
const ownLabel = /^spark-failures\.io\//;
/** What the engine says of a network beside what it was asked for; `vxlanid_list` is the number that it chose. */
const ofTheMoment = ['Id', 'Created', 'Containers', 'Peers', 'Services'];
const chosenNumber = 'com.docker.network.driver.overlay.vxlanid_list';

/**
 * The one list of what two deployments of a stack differ in by nature, and may: ids (each becomes the name it stands for),
 * our suffix of contents in the names of configs and secrets (which comes in `names`, too), our own labels, and the order
 * of ports that are published under one number or none, which CLIs of 28 leave as it was written and those of 29 sort. All
 * other order, empty values and defaults are as the API gives them.
 */
export function normalSpec(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return names.get(value) ?? value;
  if (Array.isArray(value)) return withPortsInOrder(value).map((each) => normalSpec(each, names));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key]) => !ownLabel.test(key));
  return Object.fromEntries(entries.map(([key, each]) => [key, normalSpec(each, names)]));
}

function withPortsInOrder(list: readonly unknown[]): readonly unknown[] {
  if (!list.every((each) => isTree(each) && 'TargetPort' in each)) return list;
  const published = (port: unknown) => ((port as Tree).PublishedPort ?? 0) as number;
  const rest = (port: unknown) => JSON.stringify(Object.entries(port as Tree).sort());
  return [...list].sort((a, b) => published(a) - published(b) || (rest(a) < rest(b) ? -1 : 1));
}

/** A network has no spec: what the engine has chosen itself is left out of its state, a subnet only if none was asked for. */
export function normalNetwork(
  state: Tree,
  asked: Tree | undefined,
  names: ReadonlyMap<string, string>,
): unknown {
  const kept = Object.entries(state).filter(([key]) => !ofTheMoment.includes(key));
  const { IPAM, Options, ...network } = Object.fromEntries(kept) as { IPAM?: Tree; Options?: Tree };
  const { [chosenNumber]: _, ...options } = Options ?? {};
  const { Config, ...ipam } = IPAM ?? {};
  const subnetAsked = Object.hasOwn((asked?.IPAM as Tree | undefined) ?? {}, 'Config');
  return normalSpec(
    { ...network, Options: options, IPAM: { ...ipam, ...(subnetAsked && { Config }) } },
    names,
  );
}

/**
 * What was asked for and is not in what the engine keeps: fields that an older one does not know are dropped without a
 * word, and would be compared by nobody. Empty values ask for nothing.
 */
export function unkept(asked: unknown, kept: unknown): unknown {
  if (isEmpty(asked)) return undefined;
  if (Array.isArray(asked) && Array.isArray(kept)) {
    const lost = asked.map((each, n) => unkept(each, kept[n]) ?? null);
    return lost.every((each) => each === null) ? undefined : lost;
  }
  if (!isTree(asked) || !isTree(kept)) return kept === undefined ? asked : undefined;
  const lost = Object.entries(asked).map(([key, each]) => [key, unkept(each, kept[key])] as const);
  const some = lost.filter(([, each]) => each !== undefined);
  return some.length === 0 ? undefined : Object.fromEntries(some);
}

const isTree = (value: unknown): value is Tree =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isEmpty);
  return value === undefined || value === null || value === '' || value === 0 || value === false;
}

/** What is another value, or there on one side only: `[one, other]` by path, as the specs have it with no defaults filled in. */
export function differences(one: unknown, other: unknown, at: readonly string[] = []): Tree {
  if (isTree(one) && isTree(other)) {
    const keys = [...new Set([...Object.keys(one), ...Object.keys(other)])];
    return Object.assign({}, ...keys.map((key) => differences(one[key], other[key], [...at, key]))) as Tree;
  }
  if (Array.isArray(one) && Array.isArray(other)) return differences({ ...one }, { ...other }, at);
  if (one === other || at.includes('withDefaults')) return {};
  return { [at.filter((key) => key !== 'spec').join('.')]: [one ?? null, other ?? null] };
}
