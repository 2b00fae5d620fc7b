import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import fc from "fast-check";
import { BackendTap, readErrorFields } from "../../src/postgres/backend.ts";

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, "latin1");
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

const KEY = message("K", Buffer.from([0, 0, 1, 2, 9, 8, 7, 6]));
const ERROR = message("E", Buffer.from("SERROR\0VERROR\0C42P01\0Mnothing\0\0"));
const FATAL = message("E", Buffer.from("SFATAL\0VFATAL\0C57P01\0Mterminating\0\0"));
const ROW = message("D", Buffer.from("E\0\0\0\x05FATAL K"));

test("the key and the last FATAL are seen among other messages, cut anywhere", () => {
  const stream = Buffer.concat([ROW, KEY, ROW, ERROR, message("Z", Buffer.of(73)), ROW, FATAL]);
  fc.assert(
    fc.property(fc.array(fc.nat(40), { maxLength: 20 }), (steps) => {
      const tap = new BackendTap();
      let position = 0;
      for (const step of steps) {
        tap.push(stream.subarray(position, position + step));
        position = Math.min(stream.length, position + step);
      }
      tap.push(stream.subarray(position));
      assert.deepEqual(tap.key, { pid: 258, secret: 0x09080706 });
      assert.deepEqual(tap.fatal, { code: "57P01", message: "terminating" });
    }),
  );
});

test("an ERROR is left to postgres.js", () => {
  const tap = new BackendTap();
  tap.push(ERROR);
  assert.equal(tap.fatal, null);
});

test("any bytes are passed over without harm", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (chunks) => {
      const tap = new BackendTap();
      for (const chunk of chunks) tap.push(Buffer.from(chunk));
    }),
  );
});

test("the fields of an error are read by their letters", () => {
  const fields = readErrorFields(Buffer.from("ESFATAL\0C3D000\0Mno such database\0\0"));
  assert.deepEqual([...fields], [["S", "FATAL"], ["C", "3D000"], ["M", "no such database"]]);
});
