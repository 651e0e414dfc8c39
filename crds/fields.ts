import { z } from 'zod';
import { expecting } from './explain-issue.ts';
import { DURATION_PATTERN } from './parse-duration.ts';

/** Text of one form, refused in words that name the form. */
export function textLike(pattern: RegExp, what: string): z.ZodString {
  const error = expecting(what);
  return z.string({ error }).regex(pattern, { error });
}

/** A name that can be a host name and a part of names in the swarm (a DNS-1123 label). */
export function nameField(): z.ZodString {
  const what = 'a name of at most 63 lower-case letters, digits and inner dashes';
  return textLike(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, what);
}

/** A length of time as a Go duration; `parseDuration` gives its milliseconds. */
export function durationField(): z.ZodString {
  return textLike(DURATION_PATTERN, 'a duration such as 90s or 1m30s');
}

/** Labels that people choose; ours are refused, since they say what belongs to whom. */
export function labelsField(): z.ZodRecord<z.ZodString, z.ZodString> {
  const key = z.string().regex(/^(?!spark-failures\.io\/).+$/, {
    error: 'labels below spark-failures.io/ are set by the controller',
  });
  return z.record(key, z.string());
}
