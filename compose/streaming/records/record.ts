import { crc32 } from 'node:zlib';

/** What decides every record: two generators with the same catalogue write the same bytes. */
export interface Catalogue {
  readonly seed: number;
  readonly partitions: number;
  readonly products: number;
  /** Bytes of each value that would be shorter: its number is filled up with zeros in front. Absent: as short as can be. */
  readonly recordBytes?: number;
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
  const bits = bitsOf(catalogue, partition, seq);
  return {
    product: productName(drawProduct(catalogue, partition, bits)),
    cents: drawCents(bits),
    quantity: drawQuantity(bits),
  };
}

/** A record's own random bits, from which everything in it is drawn. */
function bitsOf({ seed }: Catalogue, partition: number, seq: number): number {
  return mix(mix(mix(seed ^ 0x9e3779b9, partition), seq), Math.floor(seq / 2 ** 32));
}

function drawProduct(catalogue: Catalogue, partition: number, bits: number): number {
  return partition + (bits % productsOf(catalogue, partition)) * catalogue.partitions;
}

function drawCents(bits: number): number {
  return 1 + (mix(bits, 1) % maximumCents);
}

function drawQuantity(bits: number): number {
  return 1 + (mix(bits, 2) % maximumQuantity);
}

/** How many products a partition has; at least one, or its records could not be told apart from no records. */
function productsOf({ partitions, products }: Catalogue, partition: number): number {
  return Math.floor((products - 1 - partition) / partitions) + 1;
}

const productPrefix = 'product-';
const leastProductDigits = 3;

function productName(index: number): string {
  return productPrefix + String(index).padStart(leastProductDigits, '0');
}

/** The bytes of record `seq` of a partition: `partition-seq,product,cents,quantity,intendedMs`. */
export function recordValue(
  catalogue: Catalogue,
  partition: number,
  seq: number,
  intendedMs: number,
): Buffer {
  const value = Buffer.allocUnsafe(maximumValueBytes(catalogue));
  return value.subarray(0, writeRecord(catalogue, { partition, seq, intendedMs }, { into: value, at: 0 }));
}

/** No value of this catalogue is longer: five numbers of at most 16 digits, a name and what lies between. */
export function maximumValueBytes({ recordBytes = 0 }: Catalogue): number {
  return Math.max(recordBytes, 128);
}

/** Which record, and when it is due. */
export interface RecordPlace {
  readonly partition: number;
  readonly seq: number;
  /** Epoch ms. */
  readonly intendedMs: number;
}

/**
 * Writes a record's value to `into` from `at` on, where there must be room for `maximumValueBytes`; returns where it
 * ends. Digit by digit, without a string or a buffer of its own: most of a generator's time goes into this.
 */
export function writeRecord(
  catalogue: Catalogue,
  { partition, seq, intendedMs }: RecordPlace,
  { into, at }: { readonly into: Uint8Array; readonly at: number },
): number {
  const bits = bitsOf(catalogue, partition, seq);
  const product = drawProduct(catalogue, partition, bits);
  const productDigits = Math.max(leastProductDigits, digitsOf(product));
  const cents = drawCents(bits);
  // What follows the number of the record: three commas, and a quantity of one digit between two more.
  const tail = productPrefix.length + productDigits + digitsOf(cents) + digitsOf(intendedMs) + 5;
  const partitionDigits = digitsOf(partition);
  const room = (catalogue.recordBytes ?? 0) - partitionDigits - 1 - tail;
  let end = writeNumber(into, at, partition, partitionDigits);
  into[end++] = dash;
  end = writeNumber(into, end, seq, Math.max(digitsOf(seq), room));
  into[end++] = comma;
  for (let index = 0; index < productPrefix.length; index++) into[end++] = productPrefix.charCodeAt(index);
  end = writeNumber(into, end, product, productDigits);
  into[end++] = comma;
  end = writeNumber(into, end, cents, digitsOf(cents));
  into[end++] = comma;
  into[end++] = zero + drawQuantity(bits);
  into[end++] = comma;
  return writeNumber(into, end, intendedMs, digitsOf(intendedMs));
}

const [zero, dash, comma] = [0x30, 0x2d, 0x2c];

/** Decimal digits of a whole number from zero on. */
function digitsOf(value: number): number {
  let digits = 1;
  for (let power = 10; power <= value; power *= 10) digits++;
  return digits;
}

/** Writes a number as so many digits, zeros in front; returns where they end. */
function writeNumber(into: Uint8Array, at: number, value: number, digits: number): number {
  const end = at + digits;
  // Beyond 31 bits division is slow: two halves.
  const high = value < 1e9 ? 0 : Math.floor(value / 1e8);
  const start = high === 0 ? at : writeNumber(into, at, high, digits - 8);
  let rest = (value - high * 1e8) | 0;
  let index = end - 1;
  for (; rest > 0; index--) {
    const tenth = (rest / 10) | 0;
    into[index] = zero + rest - tenth * 10;
    rest = tenth;
  }
  for (; index >= start; index--) into[index] = zero;
  return end;
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
