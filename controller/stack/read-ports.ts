/** A port of a service, as the long form says it. */
export interface Port {
  readonly target: number;
  readonly published?: number;
  readonly protocol?: 'tcp' | 'udp' | 'sctp';
  readonly mode?: 'ingress' | 'host';
}

const SHORT =
  /^(?:(?:\[[^\]]*\]|[\w.]+(?=:\d*(?:-\d+)?:\d)):)?(?:(\d+)(?:-(\d+))?:|:)?(\d+)(?:-(\d+))?(?:\/(\w+))?$/;
const EXPECTED = 'expected a port such as "8080:80", "53:53/udp" or "8000-8010:9000-9010"';

/**
 * The ports that a short form names, as github.com/docker/go-connections/nat reads it: ranges match one by one, or many
 * are published for one target. Throws a RangeError.
 */
export function readPorts(short: string): readonly Port[] {
  const match = SHORT.exec(short);
  if (match === null) throw new RangeError(`${EXPECTED}, got "${short}"`);
  const [, from, to, first = '', last, protocol = 'tcp'] = match;
  const targets = range(first, last, short);
  const published = from === undefined ? [] : range(from, to, short);
  if (!isProtocol(protocol)) throw new RangeError(`expected tcp, udp or sctp, got "${protocol}"`);
  if (published.length === 0) return targets.map((target) => ({ target, protocol, mode: 'ingress' }));
  if (targets.length === 1)
    return published.map((port) => ({ target: targets[0]!, published: port, protocol, mode: 'ingress' }));
  if (targets.length !== published.length)
    throw new RangeError(`the ranges of "${short}" are of ${published.length} and ${targets.length} ports`);
  return targets.map((target, n) => ({ target, published: published[n]!, protocol, mode: 'ingress' }));
}

const isProtocol = (text: string): text is NonNullable<Port['protocol']> =>
  text === 'tcp' || text === 'udp' || text === 'sctp';

function range(first: string, last: string | undefined, short: string): readonly number[] {
  const [from, to] = [Number(first), Number(last ?? first)];
  if (from < 1 || to > 65535 || to < from)
    throw new RangeError(`expected ports from 1 to 65535, got "${short}"`);
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
