import { z } from 'zod';
import { didYouMean, explainIssue } from '../../crds/explain-issue.ts';
import { textLike } from '../../crds/fields.ts';

/** Where in an issue's `params` it says that the key itself is wrong, not its value. */
const KEY_IS_WRONG = { keyIsWrong: true } as const;

/**
 * A map with these keys and x- extensions, which are for people and other tools; every other key is refused by name.
 * All complaints come at once, whether others exist or not.
 */
export function fields<S extends z.core.$ZodShape>(shape: S): z.ZodType<z.output<z.ZodObject<S>>> {
  const known = Object.keys(shape);
  const schema = z.looseObject(shape).superRefine(
    (value: unknown, context) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      for (const key of Object.keys(value).filter((it) => !known.includes(it) && !it.startsWith('x-'))) {
        const message = `unknown key${didYouMean(key, known)}`;
        context.addIssue({ code: 'custom', path: [key], params: KEY_IS_WRONG, message });
      }
    },
    { when: () => true },
  );
  return schema as unknown as z.ZodType<z.output<z.ZodObject<S>>>;
}

/** Chooses the schema by the value, so that a complaint names what is wrong instead of all that it could have been. */
export function either<T>(choose: (value: unknown) => z.ZodType<T>): z.ZodType<T> {
  return z.unknown().transform((value, context): T => {
    const result = choose(value).safeParse(value, { error: explainIssue });
    if (result.success) return result.data;
    for (const issue of result.error.issues)
      context.issues.push({ ...issue, input: value } as z.core.$ZodRawIssue);
    return z.NEVER;
  });
}

/** Text read by a function that throws a RangeError for what it cannot read. */
export function readBy<T>(read: (text: string) => T): z.ZodType<T> {
  return z.string().transform((text, context): T => {
    try {
      return read(text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  });
}

const isText = (value: unknown): boolean => typeof value === 'string';

/** `short` for a text, else `long`. */
export const shortOr = <T>(short: z.ZodType<T>, long: z.ZodType<T>): z.ZodType<T> =>
  either((value) => (isText(value) ? short : long));

export const text = z.string();
export const nonEmptyText = textLike(/\S/, 'a text that is not empty');
/** As YAML has them, and as a variable may: `0x3`, `0o17`, `0444` and `1_000` too. */
export const integer = textLike(/^[-+]?(0o?[0-7_]+|0x[0-9a-f_]+|0b[01_]+|[1-9][\d_]*|0)$/i, 'a whole number')
  .transform(readInteger)
  .refine(Number.isSafeInteger, { error: 'expected a number that can be counted to' });
export const wholeNumber = integer.refine((it) => it >= 0, {
  error: 'expected a whole number of at least 0',
});
export const number = textLike(/^\d*\.?\d+(e[-+]?\d+)?$/i, 'a number').transform(Number);
const YES = /^(y|yes|true|on)$/i;
export const boolean = textLike(/^(y|yes|true|on|n|no|false|off)$/i, 'true or false').transform((it) =>
  YES.test(it),
);

/** What the engine keeps times and sizes in. */
const INT64 = 2 ** 63;
const NS: Readonly<Record<string, number>> = {
  ...{ ns: 1, us: 1e3, µs: 1e3, ms: 1e6 },
  ...{ s: 1e9, m: 60e9, h: 3600e9 },
};
/** As Go reads it, which is more than a manifest may say: zero needs no unit, and `.5s` no zero. */
export const durationNs = textLike(
  /^(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+)$/,
  'a duration such as 90s or 1m30s',
)
  .transform((it) =>
    [...it.matchAll(/([\d.]+)([a-zµ]+)/g)].reduce(
      (sum, [, amount, unit = '']) => sum + Math.round(Number(amount) * NS[unit]!),
      0,
    ),
  )
  .refine((it) => it < INT64, { error: 'expected less than 292 years' });
/** A decimal number, or a fraction as Go reads it; no finer than the engine counts. */
export const nanoCpus = textLike(
  /^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?(\/[1-9]\d*)?$/i,
  'a number of CPUs such as "0.5"',
)
  .transform((it) => {
    const [dividend, divisor = 1] = it.split('/').map(Number);
    return (dividend! / divisor) * 1e9;
  })
  .refine((nano) => Math.abs(nano - Math.round(nano)) < 1e-5, {
    error: 'expected at most nine digits after the point',
  })
  .transform(Math.round);

function readInteger(text: string): number {
  const digits = text.replaceAll('_', '').toLowerCase();
  const [, sign, octal, other] = /^([-+]?)(?:0o?([0-7]+)|(.*))$/.exec(digits) ?? [];
  const size = octal === undefined ? Number(other) : Number.parseInt(octal, 8);
  return sign === '-' ? -size : size;
}

const BYTE_UNITS = 'kmgtp';

/** Binary multiples as docker reads them: `512m`, `1.5GiB`, `4096`. */
export const bytes = textLike(/^\d+(\.\d+)? ?[kmgtp]?i?b?$/i, 'a size such as 512M')
  .transform((it) => {
    const unit = BYTE_UNITS.indexOf(/[kmgtp]/i.exec(it)?.[0].toLowerCase() ?? '?');
    return Math.floor(Number.parseFloat(it) * 1024 ** (unit + 1));
  })
  .refine((it) => it < INT64, { error: 'expected less than 8 EiB' });

export const textList = z.array(text);
export const oneOrMore = shortOr(
  text.transform((it): string[] => [it]),
  textList,
);

/** A map, or a list of `key=value`; `bare` stands for a key without a value. */
export function mapOrList<B extends string | null>(bare: B): z.ZodType<Readonly<Record<string, string | B>>> {
  const value = z
    .string()
    .nullable()
    .transform((it) => it ?? bare);
  const line = text.transform((it): readonly [string, string | B] => {
    const at = it.indexOf('=');
    return at < 0 ? [it, bare] : [it.slice(0, at), it.slice(at + 1)];
  });
  const list = z.array(line).transform((lines): Record<string, string | B> => Object.fromEntries(lines));
  return either<Readonly<Record<string, string | B>>>((it) =>
    Array.isArray(it) ? list : z.record(text, value),
  );
}
