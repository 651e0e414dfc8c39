import { productIndex, type RecordReader } from '../records/record.ts';

/** A product as it occurs in records: a small number in place of its name. */
export interface Product {
  readonly id: number;
  readonly name: string;
  readonly bytes: Buffer;
  /** The number that the catalogue gives it; -1 when no product is called so. */
  readonly index: number;
  /** Start of the newest window with records of it. */
  newestMs: number;
}

const slots = 4096;

/** Products by name. Those that are asked for again and again are found without making a string. */
export class ProductTable {
  private readonly byName = new Map<string, Product>();
  /** One product per hash; who is displaced is found by its name. */
  private readonly cache: (Product | undefined)[] = new Array<Product | undefined>(slots).fill(undefined);
  private readonly freeIds: number[] = [];
  private nextId = 0;

  get size(): number {
    return this.byName.size;
  }

  /** The product of the record that was read last from `value`. */
  ofRecord(reader: RecordReader, value: Buffer): Product {
    const slot = reader.nameHash & (slots - 1);
    const cached = this.cache[slot];
    if (cached !== undefined && isNamed(cached.bytes, reader, value)) return cached;
    const name = value.toString('utf8', reader.nameFrom, reader.nameTo);
    const product = this.byName.get(name) ?? this.add(name);
    this.cache[slot] = product;
    return product;
  }

  /** The product of this name, when a record of it was read. */
  named(name: string): Product | undefined {
    return this.byName.get(name);
  }

  /** Forgets products without records since `sinceMs`; their numbers are given away again. */
  forget(sinceMs: number): void {
    for (const product of this.byName.values()) {
      if (product.newestMs >= sinceMs) continue;
      this.byName.delete(product.name);
      this.freeIds.push(product.id);
      this.cache.fill(undefined);
    }
  }

  private add(name: string): Product {
    const id = this.freeIds.pop() ?? this.nextId++;
    const product = {
      ...{ id, name, bytes: Buffer.from(name), index: productIndex(name) },
      newestMs: Number.NEGATIVE_INFINITY,
    };
    this.byName.set(name, product);
    return product;
  }
}

function isNamed(bytes: Buffer, { nameFrom, nameTo }: RecordReader, value: Buffer): boolean {
  const length = bytes.length;
  if (nameTo - nameFrom !== length) return false;
  for (let index = 0; index < length; index++) if (bytes[index] !== value[nameFrom + index]) return false;
  return true;
}
