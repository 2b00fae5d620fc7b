/** Stands in `offsets` for NULL. */
export const NULL_VALUE = -1;
/** Stands in `offsets` for a value that was not sent: an unchanged TOASTed one, or one outside the key of an old row. */
export const NOT_SENT = -2;

/** Below this length a loop is faster than a call of `Buffer.compare`. */
const SHORT_VALUE = 32;

/**
 * The values of one row, as a view on the received bytes: nothing is decoded before it is asked for.
 *
 * How long it is valid: as long as nobody writes into its buffer. `ReplicationStream` hands out buffers that are never reused, so a
 * tuple may be kept; but it keeps the whole chunk alive that it was received in (up to 64 KiB), so who collects tuples
 * over a large transaction takes the texts that are needed, not the tuples.
 */
export class Tuple {
  /**
   * @param bytes the message that holds the row
   * @param offsets for each column where its text begins (its length, 32 bits, lies before it), or `NULL_VALUE`, or `NOT_SENT`
   */
  constructor(private readonly bytes: Buffer, private readonly offsets: readonly number[]) {}

  /** How many columns the row has. */
  get length(): number {
    return this.offsets.length;
  }

  /**
   * The value of a column in PostgreSQL's text form; null for NULL; undefined where the value was not sent: a TOASTed value that an
   * UPDATE left alone, or a column outside the replica identity in an old row.
   *
   * @param index from 0, as in `Relation.columns`; beyond the last column it is undefined
   */
  text(index: number): string | null | undefined {
    const offset = this.offsets[index];
    if (offset === undefined || offset === NOT_SENT) return undefined;
    if (offset === NULL_VALUE) return null;
    return this.bytes.toString("utf8", offset, offset + this.bytes.readInt32BE(offset - 4));
  }

  /** The bytes of `text`, as a slice of the message. */
  slice(index: number): Buffer | null | undefined {
    const offset = this.offsets[index];
    if (offset === undefined || offset === NOT_SENT) return undefined;
    if (offset === NULL_VALUE) return null;
    return this.bytes.subarray(offset, offset + this.bytes.readInt32BE(offset - 4));
  }

  isNull(index: number): boolean {
    return this.offsets[index] === NULL_VALUE;
  }

  /** True where the value was not sent; see `text`. */
  isUnchanged(index: number): boolean {
    const offset = this.offsets[index];
    return offset === undefined || offset === NOT_SENT;
  }

  /**
   * Whether a column surely has the same value here, in the new row, as in the old row. A value that was not sent with the new row is
   * the old one by definition; where the old value is not known, the answer is false.
   */
  hasSameValue(index: number, old: Tuple): boolean {
    const here = this.offsets[index];
    const there = old.offsets[index];
    if (here === undefined || here === NOT_SENT) return true;
    if (there === undefined || there === NOT_SENT) return false;
    if (here === NULL_VALUE || there === NULL_VALUE) return here === there;
    const length = this.bytes.readInt32BE(here - 4);
    if (length !== old.bytes.readInt32BE(there - 4)) return false;
    if (length > SHORT_VALUE) {
      return this.bytes.compare(old.bytes, there, there + length, here, here + length) === 0;
    }
    for (let at = 0; at < length; at++) {
      if (this.bytes[here + at] !== old.bytes[there + at]) return false;
    }
    return true;
  }

  /** A tuple with bytes of its own, that keeps nothing else alive. */
  copy(): Tuple {
    return new Tuple(Buffer.from(this.bytes), this.offsets);
  }
}
