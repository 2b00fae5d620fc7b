import { PgsyncError } from "../errors/error.ts";

/** The fields of a row: the bytes of each value in PostgreSQL's binary format, or null. */
export type CopyRow = (Buffer | null)[];

const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** Signature, flags, and the length of the header's extension. */
const HEADER_BYTES = SIGNATURE.length + 8;
const EMPTY = Buffer.alloc(0);

/**
 * Splits the stream of `COPY … TO STDOUT (FORMAT binary)` into rows. The chunks may be cut anywhere; a value that lies within one chunk is
 * a slice of it and not copied (https://www.postgresql.org/docs/current/sql-copy.html).
 */
export class CopyBinaryReader {
  #headerRead = false;
  #ended = false;
  /** Bytes that do not make a whole row yet. */
  #parts: Buffer[] = [];
  #partsLength = 0;
  /** How many bytes the row at the front of `#parts` has at least: no use in looking before they are there. */
  #needed = 0;

  /**
   * Takes the next bytes and calls `onRow` for each row that they complete. The slices stay valid as long as the chunk's bytes do.
   *
   * @throws PgsyncError INTERNAL where the bytes are not COPY's binary format
   */
  push(chunk: Buffer, onRow: (row: CopyRow) => void): void {
    let bytes = chunk;
    if (this.#partsLength > 0) {
      this.#parts.push(chunk);
      this.#partsLength += chunk.length;
      if (this.#partsLength < this.#needed) return;
      bytes = Buffer.concat(this.#parts, this.#partsLength);
      this.#parts = [];
      this.#partsLength = 0;
    }
    const used = this.#read(bytes, onRow);
    if (used < bytes.length) {
      this.#parts = [bytes.subarray(used)];
      this.#partsLength = bytes.length - used;
    }
  }

  /**
   * To be called when the COPY is over.
   *
   * @throws PgsyncError INTERNAL where the trailer has not come, so that rows may be missing
   */
  end(): void {
    if (!this.#ended) throw malformed("it stopped before its end");
  }

  /** Reads whole rows and returns how many bytes they took; sets `#needed` for what is left. */
  #read(bytes: Buffer, onRow: (row: CopyRow) => void): number {
    let start = 0;
    if (!this.#headerRead) {
      start = this.#readHeader(bytes);
      if (start === 0) return 0;
    }
    const length = bytes.length;
    while (start < length) {
      if (this.#ended) throw malformed("it goes on after its end");
      if (start + 2 > length) return this.#wait(start, 2);
      const count = bytes.readInt16BE(start);
      if (count === -1) {
        this.#ended = true;
        start += 2;
        continue;
      }
      if (count < 0) throw malformed(`a row has ${count} fields`);
      const row = new Array<Buffer | null>(count);
      let position = start + 2;
      for (let index = 0; index < count; index++) {
        if (position + 4 > length) return this.#wait(start, position + 4 - start);
        const size = bytes.readInt32BE(position);
        position += 4;
        if (size === -1) {
          row[index] = null;
        } else if (size < 0) {
          throw malformed(`a field has ${size} bytes`);
        } else if (position + size > length) {
          return this.#wait(start, position + size - start);
        } else {
          row[index] = size === 0 ? EMPTY : bytes.subarray(position, position + size);
          position += size;
        }
      }
      start = position;
      onRow(row);
    }
    return start;
  }

  #wait(start: number, needed: number): number {
    this.#needed = needed;
    return start;
  }

  #readHeader(bytes: Buffer): number {
    if (bytes.length < HEADER_BYTES) return this.#wait(0, HEADER_BYTES);
    if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw malformed("its signature is wrong");
    // Bits 16-31 of the flags are critical: who does not know one must stop. Bit 16 (OIDs) is gone since PostgreSQL 12.
    const flags = bytes.readUInt32BE(SIGNATURE.length);
    if (flags >>> 16 !== 0) throw malformed(`its flags are ${flags}`);
    const extension = bytes.readUInt32BE(SIGNATURE.length + 4);
    if (bytes.length < HEADER_BYTES + extension) return this.#wait(0, HEADER_BYTES + extension);
    this.#headerRead = true;
    return HEADER_BYTES + extension;
  }
}

function malformed(what: string): PgsyncError {
  return new PgsyncError("INTERNAL", `PostgreSQL's binary COPY stream cannot be read: ${what}.`);
}
