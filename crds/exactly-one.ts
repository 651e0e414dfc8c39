import { z } from 'zod';

type Shape = Readonly<Record<string, z.ZodType>>;
type Choices<C extends Shape> = { [K in keyof C]: z.ZodExactOptional<C[K]> };

/** What a check adds: a path below the value it looks at, and words. */
export type Report = (path: readonly PropertyKey[], message: string) => void;

/**
 * Adds a check that runs even when other fields are wrong, so that one pass reports everything; the value that it
 * gets may therefore break its own type, and only what it can make sense of should be judged.
 */
export function checked<S extends z.ZodObject>(
  schema: S,
  check: (value: Readonly<Record<string, unknown>>, report: Report, unknownKeys: readonly string[]) => void,
): S {
  return schema.superRefine(
    (value, context) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
      const unknown = context.issues.flatMap((issue) =>
        issue.code === 'unrecognized_keys' && !issue.path?.length ? issue.keys : [],
      );
      check(
        value,
        (path, message) => context.addIssue({ code: 'custom', path: [...path], message }),
        unknown,
      );
    },
    { when: () => true },
  );
}

/**
 * An object with the fields of `base` and exactly one of `choices`: in manifests this stands where others would have
 * a union, because a union's complaint names no culprit and a structural CRD schema cannot hold one.
 */
export function exactlyOne<B extends Shape, C extends Shape>(
  base: B,
  choices: C,
): z.ZodObject<B & Choices<C>, z.core.$strict> {
  const names = Object.keys(choices);
  const optional = Object.fromEntries(
    names.map((name) => [name, choices[name]!.exactOptional()]),
  ) as Choices<C>;
  const schema = z.strictObject({ ...base, ...optional }) as unknown as z.ZodObject<
    B & Choices<C>,
    z.core.$strict
  >;
  return checked(schema, (value, report, unknownKeys) => {
    const [first, ...others] = names.filter((name) => value[name] !== undefined);
    for (const other of others)
      report([other], `only one of ${names.join(', ')} may be given, and ${first} is`);
    // An unknown key is most likely the choice, misspelt: it is reported as that.
    if (first === undefined && unknownKeys.length === 0) report([], missingChoice(names));
  }).meta({ oneOf: names.map((name) => ({ required: [name] })) });
}

function missingChoice(names: readonly string[]): string {
  return names.length === 1
    ? `missing, expected ${names[0]}`
    : `expected exactly one of ${names.join(', ')}, got none`;
}
