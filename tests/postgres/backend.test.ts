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

/** Pushes the stream cut at the steps, and returns what was forwarded. */
function pushCut(
  tap: (forward: (bytes: Buffer) => void) => BackendTap,
  stream: Buffer,
  steps: readonly number[],
) {
  const forwarded: Buffer[] = [];
  const pushed = tap((bytes) => forwarded.push(bytes));
  let position = 0;
  for (const step of steps) {
    pushed.push(stream.subarray(position, position + step));
    position = Math.min(stream.length, position + step);
  }
  pushed.push(stream.subarray(position));
  return { tap: pushed, forwarded: Buffer.concat(forwarded) };
}

const newTap = (forward: (bytes: Buffer) => void) => new BackendTap(forward);
const cuts = fc.array(fc.nat(40), { maxLength: 20 });

test("the key and the FATAL are seen among other messages, and all but the FATAL is forwarded, cut anywhere", () => {
  const before = Buffer.concat([ROW, KEY, ROW, ERROR, message("Z", Buffer.of(73)), ROW, ERROR]);
  fc.assert(
    fc.property(cuts, (steps) => {
      const { tap, forwarded } = pushCut(newTap, Buffer.concat([before, FATAL]), steps);
      assert.deepEqual(tap.key, { pid: 258, secret: 0x09080706 });
      assert.equal(tap.ready, true);
      assert.equal(tap.fatal?.message, "terminating");
      assert.equal(Reflect.get(tap.fatal ?? {}, "code"), "57P01");
      assert.ok(forwarded.equals(before));
    }),
    { numRuns: 500 },
  );
});

test("only before the login may no message be long", () => {
  const ready = message("Z", Buffer.of(73));
  /** The head of a message. */
  const long = (type: string, bytes: number) => {
    const head = message(type, Buffer.alloc(0));
    head.writeUInt32BE(bytes + 4, 1);
    return head;
  };
  fc.assert(
    fc.property(cuts, (steps) => {
      const isOverlong = (...parts: readonly Buffer[]) =>
        pushCut(newTap, Buffer.concat(parts), steps).tap.overlong;
      for (const type of ["R", "E", "K", "D"]) {
        assert.equal(isOverlong(KEY, long(type, 65_537)), true, type);
        assert.equal(isOverlong(KEY, long(type, 65_536)), false, type);
        assert.equal(isOverlong(KEY, ready, long(type, 65_537)), false, type);
      }
    }),
  );
});

test("an ERROR is left to postgres.js", () => {
  const { tap, forwarded } = pushCut(newTap, ERROR, []);
  assert.equal(tap.fatal, null);
  assert.ok(forwarded.equals(ERROR));
});

test("a chunk without an error is forwarded as it is, not copied", () => {
  const seen: Buffer[] = [];
  const tap = new BackendTap((bytes) => seen.push(bytes));
  const chunk = Buffer.concat([ROW, ROW]);
  tap.push(chunk);
  assert.deepEqual(seen.length, 1);
  assert.equal(seen[0], chunk);
});

test("the data of a COPY go to who wants them, all else to postgres.js, in order, cut anywhere", () => {
  const ready = message("Z", Buffer.of(73));
  const begin = Buffer.concat([ready, message("H", Buffer.of(1, 0, 0))]);
  const end = Buffer.concat([message("c", Buffer.alloc(0)), message("C", Buffer.from("COPY 3\0")), ready]);
  const rows = [Buffer.from("abc"), Buffer.alloc(0), Buffer.from("d".repeat(60))];
  const data = rows.map((row) => message("d", row));
  fc.assert(
    fc.property(cuts, fc.constantFrom(null, 0, 1, 2), (steps, failsAfter) => {
      const seen: Buffer[] = [];
      const answer = data.flatMap((row, at) => at === failsAfter ? [row, ERROR] : [row]);
      const { forwarded } = pushCut(
        (forward) => {
          const tap = new BackendTap(forward);
          tap.copyData = (bytes, from, to) => void seen.push(bytes.subarray(from, to));
          return tap;
        },
        Buffer.concat([begin, ...answer, end]),
        steps,
      );
      assert.deepEqual(seen.map(String), rows.map(String));
      const errors = failsAfter === null ? [] : [ERROR];
      assert.ok(forwarded.equals(Buffer.concat([begin, ...errors, end])));
    }),
    { numRuns: 500 },
  );
});

test("any bytes are passed over without harm", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (chunks) => {
      const tap = new BackendTap(() => {});
      for (const chunk of chunks) tap.push(Buffer.from(chunk));
    }),
  );
});

test("the fields of an error are read by their letters", () => {
  const fields = readErrorFields(Buffer.from("SFATAL\0C3D000\0Mno such database\0\0"));
  assert.deepEqual([...fields], [["S", "FATAL"], ["C", "3D000"], ["M", "no such database"]]);
});

test("a question after the login is answered before anything else is, and nobody sees it, cut anywhere", () => {
  const ready = message("Z", Buffer.of(73));
  const login = Buffer.concat([KEY, message("S", Buffer.from("a\0b\0"))]);
  const row = message("D", Buffer.from("\0\x02\0\0\0\x03abc\xff\xff\xff\xff", "latin1"));
  const answer = Buffer.concat([
    message("T", Buffer.from("\0\0")),
    row,
    message("C", Buffer.from("SELECT 1\0")),
    ready,
  ]);
  const after = Buffer.concat([ROW, ERROR, ready]);
  fc.assert(
    fc.property(cuts, fc.boolean(), fc.boolean(), (steps, passes, fails) => {
      const heard: unknown[] = [];
      const asked: number[] = [];
      const forwarded: Buffer[] = [];
      const tap = new BackendTap((bytes) => forwarded.push(bytes), {
        ask: () => void asked.push(Buffer.concat(forwarded).length),
        onAnswer: (found) => {
          heard.push(found instanceof Error ? Reflect.get(found, "code") : found);
          return passes;
        },
      });
      const stream = Buffer.concat([
        login,
        ready,
        fails ? Buffer.concat([ERROR, ready]) : answer,
        passes ? after : Buffer.alloc(0),
      ]);
      let position = 0;
      for (const step of [...steps, stream.length]) {
        tap.push(stream.subarray(position, position + step));
        position = Math.min(stream.length, position + step);
      }
      assert.deepEqual(asked, [login.length], "when all of the login has been passed on");
      assert.deepEqual(heard, [fails ? "42P01" : ["abc", null]]);
      assert.equal(tap.ready, passes);
      const expected = passes ? Buffer.concat([login, ready, after]) : login;
      assert.ok(Buffer.concat(forwarded).equals(expected));
    }),
    { numRuns: 500 },
  );
});
