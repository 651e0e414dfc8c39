/** A strict Go duration without a sign: `90s`, `1m30s`, `1.5h`, `250ms`; a bare number has no unit and is refused. */
export const DURATION_PATTERN = /^([0-9]{1,12}(\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h))+$/;

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

const toMicrosecond = (ms: number): number => Math.round(ms * 1000) / 1000;

/** Milliseconds of a Go duration, exact to the microsecond; throws a RangeError for anything else. */
export function parseDuration(text: string): number {
  if (!DURATION_PATTERN.test(text)) throw new RangeError(`not a duration: ${JSON.stringify(text)}`);
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)([a-zµ]+)/g)) ms += Number(amount) * UNIT_MS[unit!]!;
  return toMicrosecond(ms);
}

/** The shortest Go duration for a non-negative number of milliseconds: 90000 -> `1m30s`, 250 -> `250ms`, 0 -> `0s`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) throw new RangeError(`not a duration in ms: ${ms}`);
  if (toMicrosecond(ms) === 0) return '0s';
  if (ms < 1000) return `${decimal(toMicrosecond(ms))}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = toMicrosecond(ms % 60_000) / 1000;
  return `${hours ? `${hours}h` : ''}${minutes ? `${minutes}m` : ''}${seconds ? `${decimal(seconds)}s` : ''}`;
}

/** Never in exponent form, which the pattern would refuse. */
const decimal = (value: number): string => value.toFixed(9).replace(/\.?0+$/, '');
