/** A mount of a service, as the long form says it; sizes in bytes. */
export interface VolumeMount {
  readonly type: 'volume' | 'bind' | 'tmpfs' | 'npipe' | 'cluster';
  readonly source?: string;
  readonly target: string;
  readonly read_only?: boolean;
  readonly consistency?: string;
  readonly bind?: { readonly propagation?: string };
  readonly volume?: { readonly nocopy?: boolean; readonly subpath?: string };
  readonly tmpfs?: { readonly size?: number; readonly mode?: number };
}

/** How mounts below a bind are seen on its two sides. */
export const PROPAGATIONS = ['rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'] as const;
/** Of other engines, or older ones: they change nothing here. */
const WITHOUT_EFFECT = ['z', 'Z', 'consistent', 'cached', 'delegated'];

/** A mount in short form: `target`, `source:target` or `source:target:ro,nocopy`. Throws a RangeError. */
export function readVolume(short: string): VolumeMount {
  const [first, second, options, ...more] = short.split(':');
  const empty = [first, second, options].some((it) => it === '');
  if (first === undefined || empty || more.length > 0)
    throw new RangeError(`expected target, source:target or source:target:ro, got "${short}"`);
  if (second === undefined) return { type: 'volume', target: first };
  const flags = options?.split(',') ?? [];
  const propagation = flags.flatMap((flag) => PROPAGATIONS.filter((it) => it === flag)).at(-1);
  const known = ['ro', 'rw', 'nocopy', ...PROPAGATIONS, ...WITHOUT_EFFECT];
  const strange = flags.find((flag) => !known.includes(flag));
  if (strange !== undefined) throw new RangeError(`unknown volume option "${strange}": use ro, rw or nocopy`);
  return {
    type: /^[./~]/.test(first) ? 'bind' : 'volume',
    source: first,
    target: second,
    ...(flags.findLast((flag) => flag === 'ro' || flag === 'rw') === 'ro' && { read_only: true }),
    ...(flags.includes('nocopy') && { volume: { nocopy: true } }),
    ...(propagation !== undefined && { bind: { propagation } }),
  };
}

/** The engine mounts each tmpfs of a swarm like this. */
const AS_ALL_TMPFS = ['rw', 'noexec', 'nosuid', 'nodev'];

/** A mount of `tmpfs:` in short form: `/run` or `/run:size=64m,mode=1777`. Throws a RangeError. */
export function readTmpfs(short: string): VolumeMount {
  const [target = '', options = ''] = short.split(':');
  const given = options.split(',').filter((it) => it !== '' && !AS_ALL_TMPFS.includes(it));
  const tmpfs: { size?: number; mode?: number } = {};
  for (const option of given) {
    const [, mode, size, unit = ''] = /^(?:mode=([0-7]{1,4})|size=(\d{1,12})([kmg]?))$/i.exec(option) ?? [];
    if (mode !== undefined) tmpfs.mode = Number.parseInt(mode, 8);
    else if (size !== undefined)
      tmpfs.size = Number(size) * 1024 ** ' kmg'.indexOf(unit.toLowerCase() || ' ');
    else throw new RangeError(`unknown tmpfs option "${option}": use size=64m or mode=1777`);
  }
  return { type: 'tmpfs', target, ...(given.length > 0 && { tmpfs }) };
}
