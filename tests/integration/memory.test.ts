/** With the least memory everything arrives all the same, and the buffers never hold more than they may. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LEAST_BUDGET } from "../../src/memory/budget.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import type { RunOptions } from "../../src/sync/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { startSearchProxy } from "../support/search_proxy.ts";
import { Bench } from "./support.ts";

/** More than a bulk request of this budget holds. */
const LARGE = 300_000;
/** More than all documents of this budget together may take. */
const HUGE = 3_000_000;

const TABLES = `
  create table town (id int primary key, name text);
  create table item (id int primary key, town_id int references town, title text);
  create table part (id int primary key, item_id int references item, name text);
  create table page (id int primary key, body text);
  create index on item (town_id);
  create index on part (item_id);
  insert into town values (1, 'one'), (2, 'other');
  insert into item select n, 1 + n % 2, 'item ' || n from generate_series(1, 3000) n;
  insert into part select n, 1 + n % 3000, 'part ' || n from generate_series(1, 6000) n;
  insert into page select n, 'small ' || n from generate_series(1, 500) n;
  insert into page select n, repeat('x', ${LARGE}) || n from generate_series(501, 512) n`;

const NODES = [
  `
table: item
children:
  - {table: town, columns: [name], relationship: {variant: object, type: one_to_one}}
  - {table: part, label: parts, columns: [id, name], relationship: {variant: object, type: one_to_many}}`,
  `
table: part
children:
  - table: item
    columns: [title]
    relationship: {variant: object, type: one_to_one}
    children:
      - {table: town, columns: [name], relationship: {variant: object, type: one_to_one}}`,
  `
table: page`,
];

describe("With the least memory", () => {
  const open = (changes: Partial<RunOptions> = {}) =>
    Bench.open(17, TABLES, NODES, { maxMemoryBytes: LEAST_BUDGET, loadChunkRows: 700, ...changes });
  const memory = (bench: Bench) => bench.synchronizer.status().memory;

  it("a load, large transactions, fan-outs and comparisons come to their end, and no buffer holds too much", async () => {
    await using bench = await open();
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write("update part set name = name || '!'");
    await bench.assertSettled("after a transaction that touches all documents of two indices");
    await bench.write(
      "insert into part select n, 1 + n % 3000, 'new ' || n from generate_series(6001, 9900) n",
      "update town set name = name || ' town'",
    );
    await bench.assertSettled("after a larger one, and fan-outs");
    await bench.write(`update page set body = repeat('y', ${LARGE}) || id where id % 5 = 0`);
    await bench.assertSettled("after documents became larger than those before");
    await bench.write("truncate part", "delete from page where id % 2 = 0");
    await bench.assertSettled("after all documents were compared, and many deleted");
    const { limitBytes, heldBytes, mostBytes } = memory(bench);
    assert.equal(limitBytes, LEAST_BUDGET);
    assert.ok(mostBytes <= LEAST_BUDGET, `${mostBytes} bytes were held at once`);
    assert.ok(mostBytes > LEAST_BUDGET / 4, `only ${mostBytes} bytes were held: that tries nothing`);
    assert.equal(heldBytes, 0, "nothing is held any more");
    await bench.stop();
  });

  it("documents that are larger than all of it pass one at a time, in the load and in the stream", async () => {
    await using bench = await open();
    const huge = (from: number, to: number) =>
      `insert into page select n, repeat('z', ${HUGE}) || n from generate_series(${from}, ${to}) n`;
    await bench.write(huge(601, 604));
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write(huge(605, 608), "update page set body = body || '!' where id > 490");
    await bench.assertSettled("after changes");
    const { heldBytes, mostBytes } = memory(bench);
    // A body that grows has twice its usual memory, or what it needs.
    assert.ok(mostBytes <= LEAST_BUDGET + 1.1 * HUGE, `${mostBytes} bytes were held at once`);
    assert.ok(mostBytes > HUGE);
    assert.equal(heldBytes, 0);
    await bench.stop();
  });

  it("a run that maps its documents anew, fails or is stopped while requests are on their way gives everything back", async () => {
    const proxy = await startSearchProxy((await useElasticsearch()).url);
    try {
      await using bench = await open({ search: { ...SEARCH_DEFAULTS, urls: [proxy.url] } });
      const hold = async () => {
        proxy.fail({ kind: "frozen" }, "bulk");
        await bench.write("update part set name = name || '?'");
        await eventually(() => assert.ok(memory(bench).heldBytes > 0 && proxy.met > 0), {
          what: "requests that are on their way",
        });
      };
      bench.start();
      await bench.assertSettled("after the load");
      await hold();
      const phases = () => bench.events.filter(({ type }) => type === "phase").length;
      const before = phases();
      await bench.write("alter table part add column size int default 1");
      await eventually(() => assert.ok(phases() > before), {
        what: "the run to see the column",
      });
      proxy.mend();
      await bench.assertSettled("after the documents were mapped anew");
      assert.equal(memory(bench).heldBytes, 0, "mapped anew");

      await hold();
      await bench.write("alter table town drop column name");
      const failure = await bench.failure();
      assert.ok(failure instanceof PgsyncError && failure.code === "COLUMN_MISSING");
      assert.equal(memory(bench).heldBytes, 0, "failed");

      proxy.mend();
      await bench.write("alter table town add column name text default 'again'");
      bench.start();
      await bench.assertSettled("after another start");
      await hold();
      await bench.stop();
      assert.equal(memory(bench).heldBytes, 0, "stopped");
    } finally {
      await proxy.stop();
    }
  });
});
