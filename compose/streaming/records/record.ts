import { crc32 } from 'node:zlib';

/** What decides every record: two generators with the same catalogue write the same bytes. */
export interface Catalogue {
  readonly seed: number;
  readonly partitions: number;
  readonly products: number;
  /** Bytes of each value that would be shorter: its number is filled up with zeros in front. Absent: as short as can be. */
  readonly recordBytes?: number;
}

/** A record as it was read back from the input topic: a purchase, whose amount is cents x quantity. */
export interface StoredRecord {
  readonly partition: number;
  readonly seq: number;
  readonly product: string;
  readonly cents: number;
  readonly quantity: number;
  readonly intendedMs: number;
  /** CRC-32 of the whole value, as Spark's `crc32(value)` gives it. */
  readonly crc: number;
}

const maximumCents = 20_000;
const maximumQuantity = 5;

/** A record's own random bits, from which everything in it is drawn. */
function bitsOf({ seed }: Catalogue, partition: number, seq: number): number {
  return mix(mix(mix(seed ^ 0x9e3779b9, partition), seq), Math.floor(seq / 2 ** 32));
}

/** Each product belongs to exactly one partition. */
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

/** The number of the product with this name; -1 when no product is called so. */
export function productIndex(name: string): number {
  const index = Number(name.slice(productPrefix.length));
  return Number.isInteger(index) && productName(index) === name ? index : -1;
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

const [zero, dash, comma, end] = [0x30, 0x2d, 0x2c, -1];

/**
 * Reads values without making an object of each: its fields hold the record that was read last. Several hundred
 * thousand records per second are read this way.
 */
export class RecordReader {
  partition = 0;
  seq = 0;
  cents = 0;
  quantity = 0;
  intendedMs = 0;
  crc = 0;
  /** Where in the value the product's name lies, and a hash of it. */
  nameFrom = 0;
  nameTo = 0;
  nameHash = 0;
  /** The next byte; negative once the value has turned out to be none of ours. */
  private at = 0;

  /** True when the value is a record; otherwise the fields mean nothing. */
  read(value: Buffer): boolean {
    this.at = 0;
    this.partition = this.number(value, dash);
    this.seq = this.number(value, comma);
    this.name(value);
    this.cents = this.number(value, comma);
    this.quantity = this.number(value, comma);
    this.intendedMs = this.number(value, end);
    if (this.at < 0) return false;
    this.crc = crc32(value);
    return true;
  }

  /** Whether the record read last is the generator's for its number, but for its time; `product` is the number of its product. */
  isGenuine(catalogue: Catalogue, product: number): boolean {
    const { partition, seq, cents, quantity } = this;
    const bits = bitsOf(catalogue, partition, seq);
    return (
      partition < catalogue.partitions &&
      product === drawProduct(catalogue, partition, bits) &&
      cents === drawCents(bits) &&
      quantity === drawQuantity(bits)
    );
  }

  private number(value: Buffer, stop: number): number {
    const from = this.at;
    if (from < 0) return 0;
    const length = value.length;
    let number = 0;
    let at = from;
    for (; at < length; at++) {
      const digit = value[at]! - zero;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
    }
    const stopped = stop === end ? at === length : at < length && value[at] === stop;
    // However many zeros are in front.
    this.at = stopped && at > from && number <= Number.MAX_SAFE_INTEGER ? at + 1 : -1;
    return number;
  }

  private name(value: Buffer): void {
    const from = this.at;
    if (from < 0) return;
    let hash = 0;
    let at = from;
    for (; at < value.length; at++) {
      const byte = value[at]!;
      if (byte === comma) break;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    this.nameFrom = from;
    this.nameTo = at;
    this.nameHash = hash;
    this.at = at > from && at < value.length ? at + 1 : -1;
  }
}

/** Reads a value back; null when it is none of ours. */
export function parseRecord(value: Buffer): StoredRecord | null {
  const reader = new RecordReader();
  if (!reader.read(value)) return null;
  const { partition, seq, cents, quantity, intendedMs, crc, nameFrom, nameTo } = reader;
  const product = value.toString('utf8', nameFrom, nameTo);
  return { partition, seq, product, cents, quantity, intendedMs, crc };
}

/** One round of MurmurHash3's 32-bit finaliser over `a` and `b`: cheap, and every bit of both counts. */
function mix(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0xcc9e2d51), 0x1b873593) ^ 0x85ebca6b;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
