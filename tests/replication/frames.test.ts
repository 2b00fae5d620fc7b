import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { readFrame, statusUpdate } from "../../src/replication/frames.ts";
import { startReplicationSql } from "../../src/replication/stream.ts";
import { byte, int64 } from "./encode.ts";

test("XLogData and keepalives", () => {
  const data = Buffer.concat([byte("w"), int64(1n), int64(2n), int64(3n), Buffer.from("payload")]);
  assert.deepEqual(readFrame(data), {
    kind: "data",
    walStart: 1n,
    walEnd: 2n,
    payload: Buffer.from("payload"),
  });
  const keepalive = Buffer.concat([byte("k"), int64(7n), int64(3n), byte(1)]);
  assert.deepEqual(readFrame(keepalive), { kind: "keepalive", walEnd: 7n, replyRequested: true });
});

test("any other frame is an error", () => {
  for (const frame of [Buffer.alloc(0), Buffer.from("x"), Buffer.from("w123"), Buffer.from("k".repeat(19))]) {
    assert.throws(() => readFrame(frame), { code: "REPLICATION_PROTOCOL" });
  }
});

test("a status update carries three positions, the time since 2000 and the wish for an answer", () => {
  const progress = { written: 3n, flushed: 2n, applied: 1n };
  const expected = Buffer.concat([byte("r"), int64(3n), int64(2n), int64(1n), int64(1_000_000n), byte(1)]);
  assert.ok(statusUpdate(progress, Date.UTC(2000, 0, 1) + 1_000, true).equals(expected));
});

test("the command quotes as the replication grammar wants it; messages only where the server knows them", () => {
  const stream = { slot: "book", publication: `o'd"d\\`, startLsn: 0x16_B374D848n };
  assert.equal(
    startReplicationSql(stream, 140_000),
    `START_REPLICATION SLOT "book" LOGICAL 16/B374D848 (proto_version '1', publication_names '"o''d""d\\"', messages 'true')`,
  );
  assert.doesNotMatch(startReplicationSql(stream, 130_000), /messages/);
});
