import { z } from 'zod';

/** An amount of memory as Kubernetes writes it, in whole MiB or GiB: every page size divides it. */
export function quantityField(): z.ZodString {
  return z.string().regex(/^[1-9]\d{0,5}(Mi|Gi)$/, 'expected a quantity such as 512Mi or 3Gi');
}

/** Bytes of a quantity that the field has accepted. */
export function quantityBytes(quantity: string): number {
  return Number.parseInt(quantity, 10) * (quantity.endsWith('Gi') ? 1024 ** 3 : 1024 ** 2);
}
