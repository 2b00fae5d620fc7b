import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import process from "node:process";
import { test } from "node:test";
import fc from "fast-check";
import { BodyMemory, BulkBody } from "../../src/search/bulk_body.ts";

const LARGEST = (1n << 63n) - 1n;
const lines = (body: Buffer) => body.toString("utf8").split("\n").slice(0, -1);

test("an item is an action line and, unless it deletes, a document line", () => {
  const body = new BulkBody("geo");
  body.index("1", 7n, Buffer.from('{"name" : "Ä", "price" : 1.10}'));
  body.delete("2|b", LARGEST);
  const request = body.take(1000);
  assert.deepEqual(lines(request.body), [
    '{"index":{"_id":"1","version":7,"version_type":"external_gte","pipeline":"geo"}}',
    '{"name" : "Ä", "price" : 1.10}',
    '{"delete":{"_id":"2|b","version":9223372036854775807,"version_type":"external_gte"}}',
  ]);
  assert.equal(request.builtAt, 1000);
  assert.equal(request.body.at(-1), 0x0a);
});

test("a line break between the tokens of a json column becomes a blank; all other bytes pass untouched", () => {
  const body = new BulkBody();
  body.index("1", 1n, Buffer.from('{"a":\n[1,\r\n2],"b":"x\\ny"}\n'));
  assert.equal(lines(body.take(0).body)[1], '{"a": [1,\r 2],"b":"x\\ny"} ');
});

test("whatever the ids and documents are, the same ids and documents can be read from the lines", () => {
  // Arbitrary UTF-16 units: quotes, control characters and lone surrogates among them.
  const id = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 20 })
    .map((units) => String.fromCharCode(...units));
  const item = fc.record({
    id,
    version: fc.bigInt({ min: 0n, max: LARGEST }),
    document: fc.option(fc.json(), { nil: null }),
    pretty: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(item, { maxLength: 30 }), (items) => {
    const body = new BulkBody();
    for (const { id, version, document, pretty } of items) {
      if (document === null) body.delete(id, version);
      else {
        const text = pretty ? JSON.stringify(JSON.parse(document), null, 2) : document;
        body.index(id, version, Buffer.from(text));
      }
    }
    assert.equal(body.count, items.length);
    const length = body.byteLength;
    const request = body.take(0);
    assert.equal(request.body.length, length);
    assert.equal(
      lines(request.body).length,
      items.reduce((sum, item) => sum + (item.document === null ? 1 : 2), 0),
    );
    for (const [place, { id, version, document }] of items.entries()) {
      const entry = request.items[place];
      assert.ok(entry);
      const [action = "", ...rest] = lines(request.body.subarray(entry.start, entry.end));
      const operation = document === null ? "delete" : "index";
      assert.equal(entry.id, id);
      assert.equal(entry.operation, operation);
      assert.equal(JSON.parse(action)[operation]._id, id);
      assert.ok(action.includes(`"version":${version},`));
      assert.deepEqual(rest.map((line) => JSON.parse(line)), document === null ? [] : [JSON.parse(document)]);
    }
  }));
});

test("a request stays as it is while the next one is collected", () => {
  const body = new BulkBody();
  body.index("1", 1n, Buffer.from("{}"));
  const first = body.take(0);
  const before = first.body.toString();
  body.index("2", 2n, Buffer.from('{"other":true}'));
  assert.equal(first.body.toString(), before);
  assert.equal(first.items.length, 1);
  assert.equal(body.count, 1);
});

test("a body's memory serves another one after its release, and not before", () => {
  const memory = new BodyMemory(1024, 5);
  const body = new BulkBody(null, memory);
  const request = (id: string) => {
    body.index(id, 1n, Buffer.from("{}"));
    return body.take(0);
  };
  const first = request("1");
  const second = request("2");
  assert.notEqual(second.body.buffer, first.body.buffer);
  first.release?.();
  first.release?.();
  const third = request("3");
  const fourth = request("4");
  assert.equal(third.body.buffer, first.body.buffer);
  assert.notEqual(fourth.body.buffer, third.body.buffer);
  assert.match(second.body.toString(), /"_id":"2"/);
  assert.match(third.body.toString(), /^\{"index":\{"_id":"3".*\n\{\}\n$/);
});

test("no more memory is kept for bodies than they are told to keep", () => {
  const memory = new BodyMemory(1024, 2);
  const [first, second, third] = [memory.take(), memory.take(), memory.take()];
  for (const each of [first, second, third]) memory.give(each);
  assert.deepEqual([memory.take(), memory.take()].map(({ buffer }) => buffer), [second.buffer, first.buffer]);
  assert.notEqual(memory.take().buffer, third.buffer);
});

test("a document that is larger than a body's memory is whole, and its memory is not kept", () => {
  const memory = new BodyMemory(1024, 5);
  const body = new BulkBody(null, memory);
  const large = JSON.stringify({ text: "x".repeat(1_000_000) });
  body.index("1", 1n, Buffer.from(large));
  const request = body.take(0);
  assert.equal(lines(request.body)[1], large);
  request.release?.();
  assert.notEqual(memory.take().buffer, request.body.buffer);
});

test("20,000 documents are collected in a time that does not grow with their square", () => {
  const document = Buffer.from(JSON.stringify({ text: "x".repeat(1000) }));
  const collect = (count: number) => {
    const body = new BulkBody();
    // Not the time that passes: on a busy machine most of it is others'.
    const start = process.cpuUsage();
    for (let n = 0; n < count; n++) body.index(String(n), 1n, document);
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1_000;
  };
  collect(2_000);
  const small = collect(2_000);
  // Ten times the work: 10 times as long if linear, 100 if not.
  assert.ok(collect(20_000) < Math.max(200, small * 50));
});
