/** Processes that stand by for one another (`--standby`), while their server is lost and a standby of it is promoted. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import type { PgsyncProcess } from "../support/pgsync_process.ts";
import { databasesOf, ownPostgres, ownStandby, throughProxy } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp_proxy.ts";
import { promote, replayed } from "./books.ts";
import { makePair, oneLeads, standsBy } from "./pair.ts";
import { notReady } from "./settled.ts";
import { connect } from "./tree.ts";

const names: TcpProxy[] = [];
after(async () => {
  for (const name of names) await name.stop();
});

test("the name leads to a standby without the slot, which is promoted later: both wait, then one follows it", async () => {
  const primary = await ownPostgres({ major: 15 });
  const standby = await ownStandby(primary);
  const name = await startTcpProxy(primary.url);
  names.push(name);
  const pair = await makePair("two folders", 200, databasesOf({ url: throughProxy(primary.url, name) }));
  const [one, two] = pair.homes;
  const first = await pair.start(one);
  await first.ready();
  const second = await pair.start(two);
  await standsBy(second);
  await pair.sql`DELETE FROM item WHERE id <= 10`;
  await pair.assertEqual(first);
  await replayed(standby, primary);
  await pair.sql.end();
  await primary.kill();
  name.lead(standby.url);
  name.cut();
  const runs: readonly PgsyncProcess[] = [first, second];
  for (const run of runs) {
    await eventually(async () => {
      const { databases: [status] } = await run.status();
      const met = status?.faults.filter(({ message }) => /is a standby now, and the primary/.test(message));
      // One fault is kept in 5 s, which is longer than a slot has to be free.
      assert.ok(met !== undefined && met.length >= 2, "not yet");
    }, { what: "the process to meet the standby again and again", timeout: 60_000 });
  }
  await notReady(second, /could not take over now: PostgreSQL .* is a standby now/);
  await promote(standby);
  const leader = await oneLeads(runs);
  const sql = connect(pair.database.url);
  await sql`UPDATE item SET amount = amount + 1 WHERE id <= 100`;
  await pair.assertEqual(leader);
  await sql.end();
  for (const run of runs) assert.equal((await run.end("SIGTERM")).code, 0);
});
