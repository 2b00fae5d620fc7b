import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import { CopyBinaryReader } from "../../src/postgres/copy_binary.ts";

/** The values of a row. */
type CopyRow = readonly (Buffer | null)[];

const HEADER = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);
const TRAILER = Buffer.from([0xff, 0xff]);

function encodeRow(row: CopyRow): Buffer {
  const parts = [int16(row.length)];
  for (const field of row) parts.push(int32(field === null ? -1 : field.length), field ?? Buffer.alloc(0));
  return Buffer.concat(parts);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function read(chunks: readonly Buffer[]): CopyRow[] {
  const reader = new CopyBinaryReader();
  const rows: CopyRow[] = [];
  for (const chunk of chunks) {
    // As they come, in the middle of other bytes.
    reader.push(Buffer.concat([Buffer.from("abc"), chunk, Buffer.from("d")]), 3, 3 + chunk.length);
    while (reader.next()) rows.push(rowOf(reader));
  }
  reader.finish();
  return rows;
}

function rowOf(reader: CopyBinaryReader): CopyRow {
  return Array.from({ length: reader.fields }, (_, field) => {
    const start = reader.start(field);
    return Number.isNaN(start) ? null : reader.bytes.subarray(start, reader.end(field));
  });
}

function texts(rows: readonly CopyRow[]): (string | null)[][] {
  return rows.map((row) => row.map((field) => field === null ? null : field.toString("hex")));
}

const field = fc.option(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)));
const rows = fc.array(fc.array(field, { maxLength: 5 }), { maxLength: 20 });

test("rows are split into fields, NULL and the empty value kept apart", () => {
  const stream = [HEADER, encodeRow([Buffer.from("a"), null, Buffer.alloc(0)]), TRAILER];
  assert.deepEqual(texts(read(stream)), [["61", null, ""]]);
});

test("any rows, cut anywhere, come out as they went in", () => {
  fc.assert(
    fc.property(rows, fc.array(fc.nat(200), { maxLength: 30 }), (wanted, steps) => {
      const stream = Buffer.concat([HEADER, ...wanted.map(encodeRow), TRAILER]);
      const chunks: Buffer[] = [];
      let position = 0;
      for (const step of steps) {
        chunks.push(stream.subarray(position, position + step));
        position = Math.min(stream.length, position + step);
      }
      chunks.push(stream.subarray(position));
      assert.deepEqual(texts(read(chunks)), texts(wanted));
    }),
    { numRuns: 500 },
  );
});

test("a byte at a time", () => {
  const stream = Buffer.concat([HEADER, encodeRow([Buffer.from("ab"), null]), encodeRow([]), TRAILER]);
  assert.deepEqual(texts(read([...stream].map((byte) => Buffer.of(byte)))), [["6162", null], []]);
});

test("a value within what was pushed is not copied", () => {
  const stream = Buffer.concat([HEADER, encodeRow([Buffer.from("abc")]), TRAILER]);
  const reader = new CopyBinaryReader();
  reader.push(stream);
  assert.ok(reader.next());
  assert.equal(reader.bytes, stream);
});

test("a header extension is passed over", () => {
  const header = Buffer.concat([HEADER.subarray(0, 15), int32(3), Buffer.from("xyz")]);
  assert.deepEqual(texts(read([header, encodeRow([Buffer.from("a")]), TRAILER])), [["61"]]);
});

test("what is not binary COPY, or stops early, or goes on, is an error", () => {
  const row = encodeRow([Buffer.from("abc")]);
  const broken: Record<string, Buffer[]> = {
    "no signature": [Buffer.alloc(30)],
    "no trailer": [HEADER, row],
    "cut in a row": [HEADER, row.subarray(0, 7)],
    "beyond the trailer": [HEADER, TRAILER, row],
    "a negative length": [HEADER, int16(1), int32(-2), Buffer.alloc(9)],
    "a negative count": [HEADER, int16(-3), Buffer.alloc(9)],
    "critical flags": [HEADER.subarray(0, 11), int32(0x10000), int32(0), TRAILER],
  };
  for (const [name, chunks] of Object.entries(broken)) {
    assert.throws(() => read([Buffer.concat(chunks)]), { code: "INTERNAL" }, name);
  }
});

test("bytes changed at random never do worse than an error of ours", () => {
  fc.assert(
    fc.property(rows, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1 }), (wanted, changes) => {
      const stream = Buffer.concat([HEADER, ...wanted.map(encodeRow), TRAILER]);
      for (const [position, value] of changes) stream[position % stream.length] = value;
      try {
        read([stream]);
      } catch (error) {
        assert.equal(Reflect.get(Object(error), "code"), "INTERNAL");
      }
    }),
  );
});
