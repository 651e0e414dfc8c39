import { z } from 'zod';
import { didYouMean, expecting, explainIssue } from '../../crds/explain-issue.ts';
import { durationField, textLike } from '../../crds/fields.ts';
import { parseDuration } from '../../crds/parse-duration.ts';
import { REFUSED_KEYS } from './compose-refusals.ts';

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
      for (const key of Object.keys(value).filter((it) => !known.includes(it) && !it.startsWith('x-')))
        context.addIssue({ code: 'custom', path: [key], params: KEY_IS_WRONG, message: refusal(key, known) });
    },
    { when: () => true },
  );
  return schema as unknown as z.ZodType<z.output<z.ZodObject<S>>>;
}

function refusal(key: string, known: readonly string[]): string {
  const reason = Object.hasOwn(REFUSED_KEYS, key) ? REFUSED_KEYS[key] : undefined;
  return reason === undefined ? `unknown key${didYouMean(key, known)}` : `not supported: ${reason}`;
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
export const wholeNumber = textLike(/^\d+$/, 'a whole number').transform(Number);
export const number = textLike(/^\d+(\.\d+)?$/, 'a number').transform(Number);
export const boolean = z
  .enum(['true', 'false'], { error: expecting('true or false') })
  .transform((it) => it === 'true');
export const durationNs = durationField().transform((it) => Math.round(parseDuration(it) * 1e6));
export const nanoCpus = textLike(/^\d+(\.\d+)?$/, 'a number of CPUs such as "0.5"').transform((it) =>
  Math.round(Number(it) * 1e9),
);
/** YAML 1.1 readers take `0444` for octal and `444` for decimal: only the unmistakable is allowed. */
export const fileMode = textLike(/^0o?[0-7]{3,4}$/, 'an octal mode such as 0444').transform((it) =>
  Number.parseInt(it.replace('o', ''), 8),
);

const BYTE_UNITS = 'kmgtp';

/** Binary multiples as docker reads them: `512m`, `1.5GiB`, `4096`. */
export const bytes = textLike(/^\d+(\.\d+)? ?[kmgtp]?i?b?$/i, 'a size such as 512M').transform((it) => {
  const unit = BYTE_UNITS.indexOf(/[kmgtp]/i.exec(it)?.[0].toLowerCase() ?? '?');
  return Math.floor(Number.parseFloat(it) * 1024 ** (unit + 1));
});

export const textList = z.array(text);
export const oneOrMore = shortOr(
  text.transform((it): string[] => [it]),
  textList,
);

/** A map, or a list of `key=value`. `bare` says what stands for a key without a value; undefined refuses it. */
export function mapOrList(bare: string | undefined): z.ZodType<Readonly<Record<string, string>>> {
  const error = 'has no value: nothing of the outer environment comes in, write it out or as a variable';
  const value = z
    .string()
    .nullable()
    .transform((it, context) => {
      if (it !== null || bare !== undefined) return it ?? bare ?? '';
      context.addIssue({ code: 'custom', message: error });
      return z.NEVER;
    });
  const line = text.transform((it, context): readonly [string, string] => {
    const at = it.indexOf('=');
    if (at < 0 && bare === undefined) context.addIssue({ code: 'custom', message: error });
    return at < 0 ? [it, bare ?? ''] : [it.slice(0, at), it.slice(at + 1)];
  });
  const list = z.array(line).transform((lines): Record<string, string> => Object.fromEntries(lines));
  return either<Readonly<Record<string, string>>>((it) => (Array.isArray(it) ? list : z.record(text, value)));
}
