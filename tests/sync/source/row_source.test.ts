import assert from "node:assert/strict";
import { test } from "node:test";
import { readCatalog } from "../../../src/catalog/read.ts";
import { storageFingerprint } from "../../../src/load/load_chunks.ts";
import { connectPostgres } from "../../../src/postgres/connect.ts";
import { mapDatabase } from "../../../src/sync/database_mapping.ts";
import { RowSource } from "../../../src/sync/source/row_source.ts";
import { optionsOf } from "../../postgres/options.ts";
import { eventually } from "../../support/eventually.ts";
import { ownPostgres, ownStandby, throughProxy } from "../../support/postgres.ts";
import { startTcpProxy } from "../../support/tcp_proxy.ts";

test("where a name leads to several standbys, a table is described by one that has come as far as was waited for", async () => {
  const primary = await ownPostgres();
  const [database, postgres] = ["postgres", optionsOf(primary.url)];
  const purpose = { database, purpose: "test", max: 1, kind: "admin" } as const;
  const admin = connectPostgres(postgres, purpose);
  await admin.unsafe("CREATE TABLE public.book (id int PRIMARY KEY)");
  const book = { schema: "public", table: "book" };
  const catalog = await readCatalog(admin, [book]);
  const before = catalog.relation(book);
  assert.ok(before !== null);
  const [near, far] = [await ownStandby(primary), await ownStandby(primary)];
  const farther = connectPostgres(optionsOf(far.url), purpose);
  const name = await startTcpProxy(near.url);
  {
    await using source = new RowSource({
      run: {
        postgres,
        postgresReplica: optionsOf(throughProxy(near.url, name)),
        bulkConcurrency: 1,
        loadWorkers: 1,
      },
      state: { database, mapping: mapDatabase([], catalog) },
      admin,
      board: { retry: () => {} },
      health: { failed: () => {}, succeeded: () => {} },
    });
    const signal = AbortSignal.timeout(60_000);
    await source.clock.catchUp(signal);
    await farther`SELECT pg_wal_replay_pause()`;
    await eventually(async () => {
      const [row] = await farther`SELECT pg_get_wal_replay_pause_state() AS state`;
      assert.equal(row?.["state"], "paused");
    });
    await admin.unsafe("VACUUM FULL public.book");
    await source.clock.catchUp(signal);
    // The sessions that stand stay where they are.
    name.lead(far.url);
    await assert.rejects(source.describe(before, signal), { code: "REPLICA_BEHIND" });
    await farther`SELECT pg_wal_replay_resume()`;
    const now = await eventually(() => source.describe(before, signal));
    assert.notEqual(storageFingerprint(now), storageFingerprint(before));
  }
  await Promise.all([admin.end({ timeout: 1 }), farther.end({ timeout: 1 }), name.stop()]);
});
