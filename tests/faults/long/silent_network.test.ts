/** A network without a word, and a server that never cuts a connection by itself; a search engine slower than the server's patience. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { LEAST_BUDGET } from "../../../src/memory/budget.ts";
import { SEARCH_DEFAULTS } from "../../../src/search/options.ts";
import { delay } from "../../../src/retry/backoff.ts";
import { Bench } from "../../integration/support.ts";
import { optionsOf } from "../../postgres/options.ts";
import { useElasticsearch } from "../../support/elasticsearch.ts";
import { eventually } from "../../support/eventually.ts";
import { throughProxy, usePostgres } from "../../support/postgres.ts";
import { startTcpProxy } from "../../support/tcp_proxy.ts";
import { BOOKS, CHANGES, faults, SHOP } from "../books.ts";

it("A silence is found out within 45 s, also by the stream of a server with wal_sender_timeout = 0", async () => {
  const server = await usePostgres(17);
  const network = await startTcpProxy(server.url);
  await using bench = await Bench.open(17, SHOP, BOOKS, {
    postgres: optionsOf(throughProxy(server.url, network)),
  });
  await bench.write(`ALTER DATABASE ${bench.database.name} SET wal_sender_timeout = 0`);
  bench.start();
  await bench.assertSettled("after the load");
  const begun = performance.now();
  network.swallowAnswers(true);
  await eventually(
    () =>
      bench.events.some((event) =>
        event.type === "retry" && event.of === "replication" &&
        /did not answer in time/.test(event.fault.message)
      ),
    { what: "the stream to be cut", timeout: 60_000 },
  );
  assert.ok(performance.now() - begun < 45_000);
  network.swallowAnswers(false);
  await bench.write(...CHANGES);
  await bench.assertSettled("after the silence");
  await bench.stop();
  await network.stop();
});

it("A search engine that takes longer than wal_sender_timeout costs no connection", async () => {
  const engine = await startTcpProxy((await useElasticsearch()).url);
  await using bench = await Bench.open(17, SHOP, BOOKS, {
    search: { ...SEARCH_DEFAULTS, urls: [engine.url] },
    maxMemoryBytes: LEAST_BUDGET,
  });
  await bench.write(`ALTER DATABASE ${bench.database.name} SET wal_sender_timeout = '5s'`);
  bench.start();
  await bench.assertSettled("after the load");
  for (let round = 0; round < 3; round++) {
    engine.delayAnswers(true);
    await bench.write(`UPDATE book SET title = repeat('x', 3000) || ${round} || ' ' || id`);
    await bench.write(
      `INSERT INTO book SELECT n, repeat('y', 4000) FROM generate_series(${round + 2}000, ${
        round + 2
      }900) AS n`,
    );
    // The time itself is what is tested.
    await delay(12_000);
    engine.delayAnswers(false);
  }
  await bench.assertSettled("after it");
  assert.deepEqual(faults(bench).filter((code) => !code.startsWith("SEARCH_")), []);
  await bench.stop();
  await engine.stop();
});
