import { z } from 'zod';
import { expecting } from '../../crds/explain-issue.ts';

/** A rate on the wire as tc writes it; `bitsPerSecond` gives its number. */
export function bitRateField(): z.ZodString {
  const error = expecting('a rate in kbit, mbit or gbit (per second) from 256kbit to 10gbit, such as 10mbit');
  return z
    .string({ error })
    .regex(/^[1-9][0-9]{0,6}(kbit|mbit|gbit)$/, { error })
    .refine((text) => bitsPerSecond(text) >= 256e3 && bitsPerSecond(text) <= 10e9, { error });
}

/** Of a rate that the field has accepted. */
export function bitsPerSecond(rate: string): number {
  const factor = rate.endsWith('kbit') ? 1e3 : rate.endsWith('mbit') ? 1e6 : 1e9;
  return Number.parseInt(rate, 10) * factor;
}
