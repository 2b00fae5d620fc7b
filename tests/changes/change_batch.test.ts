import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { changeSources } from "../../src/mapping/change_sources.ts";
import { ChangeBatch } from "../../src/changes/change_batch.ts";
import { BOOKS, mapped } from "../sync/shop.ts";

const [root = assert.fail(), child = assert.fail()] = changeSources(mapped(BOOKS));

describe("A batch of changes", () => {
  it("is empty until something is marked or a position reached", () => {
    const batch = new ChangeBatch();
    assert.ok(batch.isEmpty && !batch.hasWork);
    batch.position = 5n;
    assert.ok(!batch.isEmpty && !batch.hasWork);
    batch.add(root, ["1"], 7);
    assert.ok(batch.hasWork);
  });

  it("keeps each link value of a source once, and counts its memory once", () => {
    const batch = new ChangeBatch();
    batch.add(root, ["1", "2"], 7);
    const { bytes } = batch;
    batch.add(root, ["1", "2"], 7);
    assert.equal(batch.bytes, bytes);
    batch.add(child, ["1", "2"], 7);
    assert.ok(batch.bytes > bytes);
    assert.deepEqual([...batch.values.values()].map((values) => [...values]), [["1\x002"], ["1\x002"]]);
    assert.deepEqual([...batch.transactions], [7]);
  });

  it("takes documents to be written again by their keys, each once", () => {
    const batch = new ChangeBatch();
    const { document } = root;
    batch.addKeys(document, ["1", "2"]);
    const { bytes } = batch;
    batch.addKeys(document, ["2"]);
    assert.ok(batch.hasWork && !batch.isEmpty && bytes > 0);
    assert.equal(batch.bytes, bytes);
    assert.deepEqual([...batch.keys.get(document) ?? []], ["1", "2"]);
    assert.equal(batch.present, true, "a replica must show what the primary shows now");
  });

  it("keeps those keys where link values go ahead, with those who wait for them", () => {
    const batch = new ChangeBatch();
    batch.add(child, ["1", "2"], 7);
    batch.addKeys(root.document, ["1"]);
    batch.addAll(root.document, 7);
    const linked = batch.splitLinked();
    assert.equal(linked.keys.size, 0);
    assert.equal(batch.keys.size, 1);
    assert.ok(batch.bytes > 0);
  });

  it("counts each transaction that has to be waited for, also where it touches nothing new", () => {
    const batch = new ChangeBatch();
    batch.add(root, ["1", "2"], 7);
    const { bytes } = batch;
    batch.add(root, ["1", "2"], 8);
    assert.ok(batch.bytes > bytes);
    assert.deepEqual([...batch.transactions], [7, 8]);
  });
});
