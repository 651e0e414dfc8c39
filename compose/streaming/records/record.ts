import { crc32 } from 'node:zlib';

/** What decides every record: two generators with the same catalogue write the same bytes. */
export interface Catalogue {
  readonly seed: number;
  readonly partitions: number;
  readonly products: number;
}

/** A purchase as the generator writes it; its amount is cents x quantity. */
export interface Purchase {
  readonly product: string;
  readonly cents: number;
  readonly quantity: number;
}

/** A record as it was read back from the input topic. */
export interface StoredRecord extends Purchase {
  readonly partition: number;
  readonly seq: number;
  readonly intendedMs: number;
  /** CRC-32 of the whole value, as Spark's `crc32(value)` gives it. */
  readonly crc: number;
}

const maximumCents = 20_000;
const maximumQuantity = 5;

/** The purchase that is record `seq` of a partition; each product belongs to exactly one partition. */
export function purchaseAt(catalogue: Catalogue, partition: number, seq: number): Purchase {
  const own = productsOf(catalogue, partition);
  const bits = mix(mix(mix(catalogue.seed ^ 0x9e3779b9, partition), seq), Math.floor(seq / 2 ** 32));
  return {
    product: productName(partition + (bits % own) * catalogue.partitions),
    cents: 1 + (mix(bits, 1) % maximumCents),
    quantity: 1 + (mix(bits, 2) % maximumQuantity),
  };
}

/** How many products a partition has; at least one, or its records could not be told apart from no records. */
function productsOf({ partitions, products }: Catalogue, partition: number): number {
  return Math.floor((products - 1 - partition) / partitions) + 1;
}

const productPrefix = 'product-';

function productName(index: number): string {
  return productPrefix + String(index).padStart(3, '0');
}

/** The bytes of record `seq` of a partition: `partition-seq,product,cents,quantity,intendedMs`. */
export function recordValue(
  catalogue: Catalogue,
  partition: number,
  seq: number,
  intendedMs: number,
): Buffer {
  const { product, cents, quantity } = purchaseAt(catalogue, partition, seq);
  return Buffer.from(`${partition}-${seq},${product},${cents},${quantity},${intendedMs}`);
}

const valuePattern = /^(\d+)-(\d+),([^,]+),(\d+),(\d+),(\d+)$/;

/** Reads a value back; null when it is none of ours. */
export function parseRecord(value: Buffer): StoredRecord | null {
  const match = valuePattern.exec(value.toString());
  if (match === null) return null;
  return {
    partition: Number(match[1]),
    seq: Number(match[2]),
    product: match[3]!,
    cents: Number(match[4]),
    quantity: Number(match[5]),
    intendedMs: Number(match[6]),
    crc: crc32(value),
  };
}

/** One round of MurmurHash3's 32-bit finaliser over `a` and `b`: cheap, and every bit of both counts. */
function mix(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0xcc9e2d51), 0x1b873593) ^ 0x85ebca6b;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
