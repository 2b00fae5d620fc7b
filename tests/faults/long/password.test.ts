/** A password that is changed under a run: nobody is let in any more until it is right again. */
import assert from "node:assert/strict";
import { it } from "node:test";
import postgres from "postgres";
import { Bench } from "../../integration/support.ts";
import { optionsOf } from "../../postgres/options.ts";
import { eventually } from "../../support/eventually.ts";
import { databasesOf, ownPostgres, withDatabase } from "../../support/postgres.ts";

it("A password that is changed is told of, and the run goes on when it is right again; it is not tried in a tight loop", async () => {
  const server = await ownPostgres({ password: "first", settings: { log_connections: "on" } });
  const role = postgres(server.url, { max: 1, onnotice: () => {} });
  await role.unsafe("CREATE ROLE sync SUPERUSER LOGIN PASSWORD 'right'");
  await using bench = await Bench.open(
    databasesOf(server),
    "CREATE TABLE book (id int PRIMARY KEY, title text); INSERT INTO book VALUES (1, 'one'), (2, 'two')",
    "table: book",
    { postgres: optionsOf(withDatabase(server.url, "postgres", "sync", "right")) },
  );
  bench.start();
  await bench.assertSettled("after the load");
  await role.unsafe("ALTER ROLE sync PASSWORD 'other'");
  await role`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sync'`;
  await bench.write("UPDATE book SET title = 'while nobody was let in' WHERE id = 1");
  const refused = () =>
    bench.events.filter((event) => event.type === "retry" && event.fault.code === "POSTGRES_LOGIN").length;
  await eventually(() => refused() > 0, { what: "the login to be refused" });
  assert.equal(bench.synchronizer.status().ready, false);
  const attempts = () => server.log().match(/password authentication failed for user "sync"/g)?.length ?? 0;
  // All sessions were gone at once, so some were under way before the first was refused.
  const first = attempts();
  // Meanwhile a look at the tables fails ten times a second.
  await eventually(() => refused() > 1, { what: "another attempt", timeout: 120_000 });
  assert.ok(attempts() - first < 10, `${attempts() - first} further logins were refused`);
  await role.unsafe("ALTER ROLE sync PASSWORD 'right'");
  await eventually(() => bench.synchronizer.status().ready, { what: "it to be let in", timeout: 200_000 });
  await bench.assertSettled("with the right password");
  await bench.stop();
  await role.end();
});
