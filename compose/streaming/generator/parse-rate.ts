import { type Schedule, stretchesOf } from '../records/schedule.ts';

/** Every answer to `GET /frontier` holds the schedule: it has to stay small. */
const maximumParts = 1_000;
const maximumRate = 10_000_000;

/**
 * What `RATE` says, in records per second, all partitions and generators together:
 *
 *     2000                              constant
 *     ramp:1000..5000/10m               evenly from 1000 to 5000 in ten minutes; after that 5000
 *     step:500@0s,2000@5m,500@10m       each from its time on
 *     trace:/run/rates.csv              a file of lines `seconds,rate`, read as the steps are
 *
 * `readFile` gives the text of a trace. Throws a RangeError that says which part of the text is wrong.
 */
export async function parseRate(
  text: string,
  readFile: (path: string) => Promise<string>,
): Promise<Schedule['rate']> {
  const [, kind, rest = ''] = /^(\w+):(.*)$/.exec(text) ?? [];
  switch (kind) {
    case undefined:
      return rateOf(text);
    case 'ramp':
      return ramp(rest);
    case 'step':
      return steps(rest.split(',').map(stepOf));
    case 'trace':
      return steps(linesOf(await readFile(rest)).map(lineOf));
    default:
      throw new RangeError(`RATE: expected a number, ramp:, step: or trace:, got "${text}"`);
  }
}

function ramp(text: string): Schedule['rate'] {
  const [, from, to, over] = /^([^.]+)\.\.([^/]+)\/(.+)$/.exec(text) ?? [];
  if (from === undefined || to === undefined || over === undefined)
    throw new RangeError(`RATE: expected ramp:FROM..TO/TIME as in ramp:1000..5000/10m, got "ramp:${text}"`);
  const lengthMs = durationOf(over);
  if (lengthMs === 0) throw new RangeError('RATE: a ramp takes longer than no time');
  return stretchesOf([{ lengthMs, rate: rateOf(from), endRate: rateOf(to) }], rateOf(to));
}

interface Step {
  readonly atMs: number;
  readonly rate: number;
}

function steps(all: readonly Step[]): Schedule['rate'] {
  const last = all.at(-1);
  if (last === undefined || all[0]!.atMs !== 0) throw new RangeError('RATE: the first rate is from 0 s on');
  if (all.length > maximumParts)
    throw new RangeError(`RATE: at most ${maximumParts} rates, got ${all.length}: thin the trace out`);
  const parts = all.slice(0, -1).map(({ atMs, rate }, index) => {
    const lengthMs = all[index + 1]!.atMs - atMs;
    if (lengthMs <= 0)
      throw new RangeError(`RATE: times must increase, but after ${atMs / 1000} s comes one that does not`);
    return { lengthMs, rate, endRate: rate };
  });
  return parts.length === 0 ? last.rate : stretchesOf(parts, last.rate);
}

function stepOf(text: string): Step {
  const [, rate, at] = /^([^@]+)@(.+)$/.exec(text) ?? [];
  if (rate === undefined || at === undefined)
    throw new RangeError(`RATE: expected step:RATE@TIME,... as in step:500@0s,2000@5m, got "${text}"`);
  return { atMs: durationOf(at), rate: rateOf(rate) };
}

/** Lines of a trace: empty ones and those that begin with # say nothing. */
function linesOf(text: string): readonly string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

function lineOf(line: string): Step {
  const [, seconds, rate] = /^(\d+(?:\.\d+)?)\s*,\s*(\S+)$/.exec(line) ?? [];
  if (seconds === undefined || rate === undefined)
    throw new RangeError(`RATE: expected a line seconds,rate in the trace, got "${line}"`);
  return { atMs: Number(seconds) * 1000, rate: rateOf(rate) };
}

function rateOf(text: string): number {
  const rate = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (rate >= 1 && rate <= maximumRate) return rate;
  throw new RangeError(`RATE: expected records per second from 1 to ${maximumRate}, got "${text}"`);
}

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

function durationOf(text: string): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  if (amount === undefined)
    throw new RangeError(`RATE: expected a time as in 500ms, 90s, 10m, 2h, got "${text}"`);
  return Number(amount) * unitMs[unit as keyof typeof unitMs];
}
