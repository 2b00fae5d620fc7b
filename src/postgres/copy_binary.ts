import { PgsyncError } from "../errors/error.ts";

const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** Signature, flags, and the length of the header's extension. */
const HEADER_BYTES = SIGNATURE.length + 8;
/** Stands for NULL. */
const NULL_VALUE = -1;

/**
 * Splits the stream of `COPY … TO STDOUT (FORMAT binary)` into rows. What is pushed may be cut anywhere; a value that lies within it
 * is not copied (https://www.postgresql.org/docs/current/sql-copy.html).
 *
 * @example
 * ```ts
 * reader.push(bytes, start, end);
 * while (reader.next()) use(reader.bytes, reader.start(0), reader.end(0));
 * ```
 */
export class CopyBinaryReader {
  #headerRead = false;
  #ended = false;
  /** The bytes that are read now, and how far. */
  #bytes: Buffer = Buffer.alloc(0);
  #position = 0;
  #length = 0;
  /** Where the values of the row begin and end. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #fields = 0;
  /** Bytes that do not make a whole row yet. */
  #parts: Buffer[] = [];
  #partsLength = 0;
  /** How many bytes the row at the front of `#parts` has at least: no use in looking before they are there. */
  #needed = 0;

  /** What holds the values of the row. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /** How many values the row has. */
  get fields(): number {
    return this.#fields;
  }

  /** Where a value begins in `bytes`; NaN where there is none, or where it is NULL. */
  start(field: number): number {
    return this.#of(this.#starts, field);
  }

  /** Where a value ends in `bytes`; NaN where there is none, or where it is NULL. */
  end(field: number): number {
    return this.#of(this.#ends, field);
  }

  #of(places: readonly number[], field: number): number {
    const place = field < this.#fields ? places[field] : undefined;
    return place === undefined || place === NULL_VALUE ? NaN : place;
  }

  /** Takes the next bytes, those from `start` up to `end`; all rows of those before must have been read. */
  push(bytes: Buffer, start = 0, end = bytes.length): void {
    if (this.#partsLength === 0) {
      this.#bytes = bytes;
      this.#position = start;
      this.#length = end;
      return;
    }
    this.#parts.push(bytes.subarray(start, end));
    this.#partsLength += end - start;
    this.#bytes = bytes;
    this.#position = this.#length = end;
    if (this.#partsLength < this.#needed) return;
    this.#bytes = Buffer.concat(this.#parts, this.#partsLength);
    this.#position = 0;
    this.#length = this.#partsLength;
    this.#parts = [];
    this.#partsLength = 0;
  }

  /**
   * Goes on to the next row, if all of it was pushed; `bytes`, `start` and `end` tell of it until the next call. The bytes stay as they are.
   *
   * @throws PgsyncError INTERNAL where the bytes are not COPY's binary format
   */
  next(): boolean {
    if (!this.#headerRead && !this.#readHeader()) return false;
    const bytes = this.#bytes;
    const length = this.#length;
    const from = this.#position;
    if (from === length) return false;
    if (this.#ended) throw malformed("it goes on after its end");
    if (from + 2 > length) return this.#wait(2);
    const count = bytes.readInt16BE(from);
    if (count === -1) {
      this.#ended = true;
      this.#position += 2;
      return this.next();
    }
    if (count < 0) throw malformed(`a row has ${count} fields`);
    let position = from + 2;
    for (let field = 0; field < count; field++) {
      if (position + 4 > length) return this.#wait(position + 4 - from);
      const size = bytes.readInt32BE(position);
      position += 4;
      if (size < NULL_VALUE) throw malformed(`a field has ${size} bytes`);
      if (position + size > length) return this.#wait(position + size - from);
      this.#starts[field] = size === NULL_VALUE ? NULL_VALUE : position;
      this.#ends[field] = size === NULL_VALUE ? NULL_VALUE : position + size;
      if (size > 0) position += size;
    }
    this.#fields = count;
    this.#position = position;
    return true;
  }

  /**
   * To be called when the COPY is over.
   *
   * @throws PgsyncError INTERNAL where the trailer has not come, so that rows may be missing
   */
  finish(): void {
    if (!this.#ended) throw malformed("it stopped before its end");
  }

  /** Keeps what is not a whole row yet. @param needed bytes that it has at least */
  #wait(needed: number): false {
    this.#needed = needed;
    this.#partsLength = this.#length - this.#position;
    this.#parts = [this.#bytes.subarray(this.#position, this.#length)];
    this.#position = this.#length;
    return false;
  }

  #readHeader(): boolean {
    const from = this.#position;
    if (this.#length === from) return false;
    if (this.#length - from < HEADER_BYTES) return this.#wait(HEADER_BYTES);
    const header = this.#bytes.subarray(from, this.#length);
    if (!header.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw malformed("its signature is wrong");
    // Bits 16-31 of the flags are critical: who does not know one must stop. Bit 16 (OIDs) is gone since PostgreSQL 12.
    const flags = header.readUInt32BE(SIGNATURE.length);
    if (flags >>> 16 !== 0) throw malformed(`its flags are ${flags}`);
    const extension = header.readUInt32BE(SIGNATURE.length + 4);
    if (header.length < HEADER_BYTES + extension) return this.#wait(HEADER_BYTES + extension);
    this.#headerRead = true;
    this.#position += HEADER_BYTES + extension;
    return true;
  }
}

function malformed(what: string): PgsyncError {
  return new PgsyncError("INTERNAL", `PostgreSQL's binary COPY stream cannot be read: ${what}.`);
}
