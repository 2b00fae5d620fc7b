/** A network that swallows everything without a word: it is found out, and all connections are opened anew. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LEAST_BUDGET } from "../../src/memory/budget.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { Bench } from "../integration/support.ts";
import { optionsOf } from "../postgres/options.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { throughProxy, usePostgres } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp_proxy.ts";
import { BOOKS, FEWER, heldBack, SHOP } from "./books.ts";

/** A server that speaks often, behind a network of its own. */
async function open(search: string): Promise<{ readonly bench: Bench; readonly network: TcpProxy }> {
  const server = await usePostgres(17);
  const network = await startTcpProxy(server.url);
  const bench = await Bench.open(17, SHOP, BOOKS, {
    postgres: optionsOf(throughProxy(server.url, network)),
    search: { ...SEARCH_DEFAULTS, urls: [search] },
    maxMemoryBytes: LEAST_BUDGET,
  });
  await bench.write(`ALTER DATABASE ${bench.database.name} SET wal_sender_timeout = '2s'`);
  return { bench, network };
}

/** How often a silence was told of. */
function silences(bench: Bench): number {
  return bench.events.filter((event) =>
    event.type === "retry" && /has been silent for 4000 ms/.test(event.fault.message)
  ).length;
}

/** How often the stream was cut by whoever watches all connections. */
function streamsCut(bench: Bench): number {
  return bench.events.filter((event) =>
    event.type === "retry" && event.of === "replication" && /did not answer in time/.test(event.fault.message)
  ).length;
}

async function silence(bench: Bench): Promise<void> {
  const before = silences(bench);
  await eventually(() => silences(bench) > before, { what: "the silence to be noticed", timeout: 60_000 });
}

describe("A network that swallows everything", () => {
  it("is found out while nothing happens, and all connections are opened anew", async () => {
    const { bench, network } = await open((await useElasticsearch()).url);
    await using _bench = bench;
    bench.start();
    await bench.assertSettled("after the load");
    network.swallowAnswers(true);
    await bench.write("UPDATE book SET title = 'unheard'");
    await silence(bench);
    network.swallowAnswers(false);
    await bench.assertSettled("after the silence");
    await bench.stop();
    await network.stop();
  });

  it("is found out while the stream is held back, too, and ends the stream", async () => {
    const engine = await startTcpProxy((await useElasticsearch()).url);
    const { bench, network } = await open(engine.url);
    await using _bench = bench;
    bench.start();
    await bench.assertSettled("after the load");
    engine.delayAnswers(true);
    await heldBack(bench);
    network.swallowAnswers(true);
    // It has no watchdog of its own while it is held back.
    await eventually(() => streamsCut(bench) > 0, { what: "the stream to be cut", timeout: 60_000 });
    assert.ok(silences(bench) > 0);
    network.swallowAnswers(false);
    engine.delayAnswers(false);
    await bench.write(FEWER);
    await bench.assertSettled("after the silence");
    await bench.stop();
    await Promise.all([network.stop(), engine.stop()]);
  });

  it("is found out while the documents are mapped anew", async () => {
    const { bench, network } = await open((await useElasticsearch()).url);
    await using _bench = bench;
    bench.start();
    await bench.assertSettled("after the load");
    await bench.write("ALTER TABLE book ADD COLUMN pages int DEFAULT 7");
    await eventually(() => /mapped/.test(bench.synchronizer.status().databases[0]?.notReady.join() ?? ""), {
      what: "the documents to be mapped anew",
      interval: 1,
    });
    network.swallowAnswers(true);
    await silence(bench);
    network.swallowAnswers(false);
    await bench.assertSettled("after the silence");
    await bench.stop();
    await network.stop();
  });
});
