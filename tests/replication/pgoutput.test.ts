import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import { PgsyncError } from "../../src/errors/error.ts";
import { PgoutputDecoder } from "../../src/replication/pgoutput.ts";
import type { Tuple } from "../../src/replication/tuple.ts";
import { type Column, encode, type Value } from "./encode.ts";

const COLUMNS: Column[] = [
  { name: "id", typeOid: 23, typeModifier: -1, isKey: true },
  { name: "name", typeOid: 1043, typeModifier: 24, isKey: false },
  { name: "text", typeOid: 25, typeModifier: -1, isKey: false },
];
const BOOK = 16_400;

/** A decoder that knows the table `public.book (id, name, text)`. */
function decoderOfBook(identity = "d"): PgoutputDecoder {
  const decoder = new PgoutputDecoder();
  decoder.decode(encode.relation(BOOK, "public", "book", identity, COLUMNS));
  return decoder;
}

function valuesOf(tuple: Tuple | null): Value[] | null {
  return tuple === null ? null : Array.from({ length: tuple.length }, (_, index) => tuple.text(index));
}

test("a transaction's begin and commit", () => {
  const decoder = new PgoutputDecoder();
  // 2024-01-01T00:00:00.123456Z
  const microseconds = 757_382_400_123_456n;
  assert.deepEqual(decoder.decode(encode.begin(0x16_B374D848n, microseconds, 4_294_967_295)), {
    kind: "begin",
    finalLsn: 0x16_B374D848n,
    commitTimeMs: Date.UTC(2024, 0, 1) + 123.456,
    xid: 4_294_967_295,
  });
  assert.deepEqual(decoder.decode(encode.commit(5n, 0xFFFFFFFFFFFFFFFFn, microseconds)), {
    kind: "commit",
    commitLsn: 5n,
    endLsn: 0xFFFFFFFFFFFFFFFFn,
    commitTimeMs: Date.UTC(2024, 0, 1) + 123.456,
  });
});

test("a relation, and pg_catalog by its empty name", () => {
  const decoder = new PgoutputDecoder();
  assert.deepEqual(decoder.decode(encode.relation(BOOK, "", "Büch er", "i", COLUMNS)), {
    kind: "relation",
    relationId: BOOK,
    schema: "pg_catalog",
    table: "Büch er",
    replicaIdentity: "index",
    columns: COLUMNS.map(({ isKey, name, typeOid, typeModifier }) => ({
      isKey,
      name,
      typeOid,
      typeModifier,
    })),
  });
});

test("an insert names its relation; NULL and the empty text are different", () => {
  const message = decoderOfBook().decode(encode.insert(BOOK, ["1", null, ""]));
  assert.equal(message.kind, "insert");
  assert.equal(message.relation.table, "book");
  assert.deepEqual(valuesOf(message.newTuple), ["1", null, ""]);
  assert.equal(message.newTuple.isNull(1), true);
});

test("an update without an old row", () => {
  const message = decoderOfBook().decode(encode.update(BOOK, null, [], ["1", "a", undefined]));
  assert.equal(message.kind, "update");
  assert.equal(message.oldTuple, null);
  assert.deepEqual(valuesOf(message.newTuple), ["1", "a", undefined]);
  assert.equal(message.newTuple.isUnchanged(2), true);
});

test("a whole old row (REPLICA IDENTITY FULL) keeps its NULLs", () => {
  const message = decoderOfBook("f").decode(
    encode.update(BOOK, "O", ["1", null, "x"], ["1", "b", undefined]),
  );
  assert.equal(message.kind, "update");
  assert.deepEqual(valuesOf(message.oldTuple), ["1", null, "x"]);
});

test("an old key says nothing of the other columns, which the server writes as NULL", () => {
  const decoder = decoderOfBook();
  const update = decoder.decode(encode.update(BOOK, "K", ["1", null, null], ["2", "a", "x"]));
  assert.equal(update.kind, "update");
  assert.deepEqual(valuesOf(update.oldTuple), ["1", undefined, undefined]);
  const deletion = decoder.decode(encode.delete(BOOK, "K", ["2", null, null]));
  assert.equal(deletion.kind, "delete");
  assert.deepEqual(valuesOf(deletion.oldTuple), ["2", undefined, undefined]);
});

test("a truncate names all its relations", () => {
  const decoder = decoderOfBook();
  decoder.decode(encode.relation(7, "public", "rating", "d", []));
  const message = decoder.decode(encode.truncate([BOOK, 7], 3));
  assert.equal(message.kind, "truncate");
  assert.deepEqual(message.relations.map((relation) => relation.table), ["book", "rating"]);
  assert.deepEqual([message.cascade, message.restartIdentity], [true, true]);
});

test("types, origins and logical messages", () => {
  const decoder = new PgoutputDecoder();
  assert.deepEqual(decoder.decode(encode.type(99, "public", "mood")), {
    kind: "type",
    typeOid: 99,
    schema: "public",
    name: "mood",
  });
  assert.deepEqual(decoder.decode(encode.origin(9n, "node")), {
    kind: "origin",
    commitLsn: 9n,
    name: "node",
  });
  assert.deepEqual(decoder.decode(encode.message(true, 9n, "pgsync", Buffer.from("a\0b"))), {
    kind: "message",
    transactional: true,
    lsn: 9n,
    prefix: "pgsync",
    content: Buffer.from("a\0b"),
  });
});

test("a relation that is sent again replaces the one before", () => {
  const decoder = decoderOfBook();
  decoder.decode(encode.relation(BOOK, "public", "book", "d", COLUMNS.slice(0, 1)));
  const message = decoder.decode(encode.insert(BOOK, ["1"]));
  assert.equal(message.kind, "insert");
  assert.equal(message.relation.columns.length, 1);
});

test("columns are compared by their bytes; what was not sent is unchanged", () => {
  const long = "x".repeat(100);
  const same = (old: Value, now: Value, kind: "K" | "O" = "O") => {
    const message = decoderOfBook("f").decode(encode.update(BOOK, kind, ["1", old, ""], ["1", now, ""]));
    return message.kind === "update" && message.oldTuple !== null &&
      message.newTuple.hasSameValue(1, message.oldTuple);
  };
  assert.equal(same("a", "a"), true);
  assert.equal(same("a", "b"), false);
  assert.equal(same("a", "ab"), false);
  assert.equal(same(long, long), true);
  assert.equal(same(long, `${long.slice(1)}y`), false);
  assert.equal(same(null, null), true);
  assert.equal(same(null, ""), false);
  assert.equal(same("", null), false);
  assert.equal(same(long, undefined), true);
  // An old key does not carry the column: nobody knows.
  assert.equal(same(null, null, "K"), false);
});

test("a copied tuple does not need the buffer it was read from", () => {
  const bytes = encode.insert(BOOK, ["1", "a", null]);
  const message = decoderOfBook().decode(bytes);
  assert.equal(message.kind, "insert");
  const copy = message.newTuple.copy();
  bytes.fill(0xff);
  assert.deepEqual(valuesOf(copy), ["1", "a", null]);
});

const PROTOCOL = { code: "REPLICATION_PROTOCOL" };

test("what is not understood is an error that says so", () => {
  const insert = encode.insert(BOOK, ["1", "a", null]);
  const cases: Record<string, Buffer> = {
    "an empty message": Buffer.alloc(0),
    "an unknown kind": Buffer.from("S123"),
    "an unknown relation": encode.insert(1, ["1"]),
    "too few columns": encode.insert(BOOK, ["1"]),
    "bytes left over": Buffer.concat([insert, Buffer.of(0)]),
    "a binary value": Buffer.from(insert.toString("latin1").replace("t", "b"), "latin1"),
    "a text without an end": encode.type(1, "public", "mood").subarray(0, -1),
    "an unknown identity": encode.relation(1, "public", "book", "x", []),
    "a truncate of four billion": Buffer.concat([
      Buffer.from("T\xff\xff\xff\xff\0", "latin1"),
      Buffer.alloc(8),
    ]),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    assert.throws(() => decoderOfBook().decode(bytes), PROTOCOL, name);
  }
});

test("every message that is cut off is an error", () => {
  const whole = [
    encode.begin(1n, 2n, 3),
    encode.commit(1n, 2n, 3n),
    encode.relation(1, "public", "book", "d", COLUMNS),
    encode.insert(BOOK, ["1", "ab", null]),
    encode.update(BOOK, "O", ["1", "ab", "c"], ["1", "ab", undefined]),
    encode.delete(BOOK, "K", ["1", null, null]),
    encode.truncate([BOOK], 0),
    encode.type(1, "public", "mood"),
    encode.origin(1n, "node"),
    encode.message(true, 1n, "pgsync", Buffer.from("content")),
  ];
  for (const bytes of whole) {
    decoderOfBook().decode(bytes);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => decoderOfBook().decode(bytes.subarray(0, length)), PROTOCOL);
    }
  }
});

test("a message is read from the middle of a larger buffer and no byte beyond it", () => {
  const insert = encode.insert(BOOK, ["1", "ab", null]);
  const around = Buffer.concat([Buffer.alloc(100, 0x74), insert, Buffer.alloc(100, 0x74)]);
  const message = decoderOfBook().decode(around.subarray(100, 100 + insert.length));
  assert.equal(message.kind, "insert");
  assert.deepEqual(valuesOf(message.newTuple), ["1", "ab", null]);
  assert.throws(() => decoderOfBook().decode(around.subarray(100, 99 + insert.length)), PROTOCOL);
});

const value = fc.option(fc.string({ unit: "binary" }).map((text) => text.toWellFormed()), { nil: null });
const sentValue = fc.oneof(value, fc.constant(undefined));
const rowAndOld = fc.integer({ min: 1, max: 12 }).chain((width) =>
  fc.record({
    keys: fc.array(fc.boolean(), { minLength: width, maxLength: width }),
    old: fc.array(value, { minLength: width, maxLength: width }),
    now: fc.array(sentValue, { minLength: width, maxLength: width }),
  })
);

test("any rows come out as they went in", () => {
  fc.assert(
    fc.property(rowAndOld, ({ keys, old, now }) => {
      const decoder = new PgoutputDecoder();
      const columns = keys.map((isKey, index) => ({
        name: `c${index}`,
        typeOid: 25,
        typeModifier: -1,
        isKey,
      }));
      decoder.decode(encode.relation(BOOK, "public", "book", "f", columns));
      const whole = decoder.decode(encode.update(BOOK, "O", old, now));
      assert.ok(whole.kind === "update");
      assert.deepEqual(valuesOf(whole.oldTuple), old);
      assert.deepEqual(valuesOf(whole.newTuple), now);
      for (const [index, text] of now.entries()) {
        const sameValue = text === undefined || text === old[index];
        assert.equal(
          whole.oldTuple !== null && whole.newTuple.hasSameValue(index, whole.oldTuple),
          sameValue,
        );
        assert.deepEqual(whole.newTuple.slice(index)?.toString(), text === null ? undefined : text);
      }
      const key = decoder.decode(
        encode.delete(BOOK, "K", old.map((text, index) => keys[index] ? text : null)),
      );
      assert.ok(key.kind === "delete");
      assert.deepEqual(valuesOf(key.oldTuple), old.map((text, index) => keys[index] ? text : undefined));
    }),
    { numRuns: 500 },
  );
});

test("bytes changed at random never do worse than an error of ours", () => {
  const messages = fc.constantFrom(
    encode.begin(1n, 2n, 3),
    encode.commit(1n, 2n, 3n),
    encode.relation(1, "public", "book", "d", COLUMNS),
    encode.insert(BOOK, ["1", "ab", null]),
    encode.update(BOOK, "O", ["1", "ab", "c"], ["1", "ab", undefined]),
    encode.delete(BOOK, "K", ["1", null, null]),
    encode.truncate([BOOK, BOOK], 0),
    encode.type(1, "public", "mood"),
    encode.origin(1n, "node"),
    encode.message(true, 1n, "pgsync", Buffer.from("content")),
  );
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(messages, changes, fc.nat(), (message, edits, length) => {
      const bytes = Buffer.from(message);
      for (const [position, to] of edits) bytes[position % bytes.length] = to;
      const shown = length % 3 === 0 ? bytes.subarray(0, length % bytes.length) : bytes;
      try {
        const decoded = decoderOfBook().decode(shown);
        if (decoded.kind === "update") valuesOf(decoded.newTuple);
      } catch (error) {
        assert.ok(error instanceof PgsyncError && error.code === "REPLICATION_PROTOCOL");
      }
    }),
    { numRuns: 5_000 },
  );
});
