const chunkSize = 4096;

/** A time for each offset of a partition, without a gap, of which the oldest are forgotten in whole chunks. */
export class TimeLog {
  private readonly chunks: Float64Array[] = [];
  private first: number;
  private next: number;

  /** Begins with the time of `offset`. */
  constructor(offset: number) {
    this.first = offset;
    this.next = offset;
  }

  /** How many times it holds, at most. */
  get held(): number {
    return this.chunks.length * chunkSize;
  }

  push(timeMs: number): void {
    const index = this.next - this.first;
    if (index === this.chunks.length * chunkSize) this.chunks.push(new Float64Array(chunkSize));
    this.chunks[Math.floor(index / chunkSize)]![index % chunkSize] = timeMs;
    this.next++;
  }

  /** The time of an offset; of one that was forgotten the oldest that is left, of one to come undefined. */
  at(offset: number): number | undefined {
    if (offset >= this.next) return undefined;
    const index = Math.max(0, offset - this.first);
    return this.chunks[Math.floor(index / chunkSize)]?.[index % chunkSize];
  }

  /** Forgets chunks that end below `offset`, or whose times all lie before `sinceMs`. */
  forget(offset: number, sinceMs: number): void {
    while (this.chunks.length > 0 && this.first + chunkSize <= this.next) {
      const newestMs = this.chunks[0]![chunkSize - 1]!;
      if (this.first + chunkSize > offset && newestMs >= sinceMs) return;
      this.chunks.shift();
      this.first += chunkSize;
    }
  }
}
