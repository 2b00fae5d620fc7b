import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { eventually } from "../support/eventually.ts";
import { Bench } from "./support.ts";

describe("The initial load", () => {
  it("of an empty table leaves an empty index, ready for the stream", async () => {
    await using bench = await Bench.open(17, "create table t (id int primary key)", "\ntable: t");
    bench.start();
    await bench.assertSettled("nothing");
    await bench.write("insert into t select generate_series(1, 10)");
    await bench.assertSettled("something");
  });

  it("in many chunks by several workers", async () => {
    await using bench = await Bench.open(
      17,
      `create table t (id int primary key, text text);
       create table c (id int primary key, t int references t, v int);
       insert into t select g, repeat('x', g % 300) from generate_series(1, 5000) g;
       insert into c select g, 1 + g % 5000, g from generate_series(1, 7000) g; analyze`,
      "\ntable: t\nchildren:\n  - {table: c, relationship: {variant: object, type: one_to_many}}",
      { loadWorkers: 4, loadChunkRows: 300, bulkDocuments: 100, bulkBytes: 20_000 },
    );
    bench.start();
    await bench.assertSettled("after the load");
    const last = bench.events.findLast((event) => event.type === "load");
    assert.ok(last?.type === "load" && last.load.chunks > 5 && last.load.chunksDone === last.load.chunks);
    assert.equal(last.load.documents, 5000);
  });

  it("goes on where it was stopped", async () => {
    await using bench = await Bench.open(
      17,
      "create table t (id int primary key, text text); insert into t select g, repeat('x', 200) from generate_series(1, 6000) g; analyze",
      "\ntable: t",
      { loadWorkers: 1, loadChunkRows: 200, bulkDocuments: 50 },
    );
    bench.start();
    const threeChunks = () =>
      bench.events.some((event) => event.type === "load" && event.load.chunksDone >= 3);
    await eventually(threeChunks, { interval: 1, what: "three chunks to be done" });
    await bench.stop();
    await bench.write("update t set text = 'changed' where id % 2 = 0", "delete from t where id < 1000");
    bench.start();
    await bench.assertSettled("after the second start");
  });
});
