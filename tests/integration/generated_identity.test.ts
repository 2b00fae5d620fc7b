/**
 * From version 18 on PostgreSQL refuses UPDATE and DELETE of a published table whose replica identity has a generated column that
 * the publication leaves out. What bootstrap sets must never stop the application from writing.
 */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { type DatabaseServer, databasesOf, ownPostgres } from "../support/postgres.ts";
import { Bench } from "./support.ts";

const NODES = `
table: r
children:
  - {table: c, relationship: {variant: object, type: one_to_many}}`;
const CHANGES = [
  "update c set n = n + 1",
  "update c set r_id = 2 where id = 1",
  "delete from c where id = 2",
];

/** @param more columns and keys of the child table */
function tables(more: string): string {
  return `create table r (id int primary key);
    create table c (id int primary key, r_id int not null references r, n int not null, ${more});
    insert into r values (1), (2); insert into c (id, r_id, n) values (1, 1, 5), (2, 1, 6)`;
}

/** Loads, then writes as the application does. */
async function follow(server: DatabaseServer, ddl: string): Promise<void> {
  await using bench = await Bench.open(server, ddl, NODES);
  bench.start();
  await bench.assertSettled("after the load");
  for (const statement of CHANGES) {
    await bench.write(statement);
    await bench.assertSettled(statement);
  }
}

/** What keeps a run from starting; the application goes on writing. */
async function refusal(server: DatabaseServer, ddl: string): Promise<PgsyncError> {
  await using bench = await Bench.open(server, ddl, NODES);
  bench.start();
  const error = await bench.failure();
  assert.ok(error instanceof PgsyncError, String(error));
  for (const statement of CHANGES) await bench.write(statement);
  return error;
}

describe("Generated columns and the replica identity, PostgreSQL 18", () => {
  let server: DatabaseServer;
  before(async () => {
    server = databasesOf(await ownPostgres({ major: 18 }));
  });

  it("stored ones are published with the whole row", async () => {
    await follow(server, tables("twice int generated always as (n * 2) stored"));
  });

  it("a publication of an older release gets its option before the identity is set", async () => {
    const ddl = tables("twice int generated always as (n * 2) stored");
    await using bench = await Bench.open(server, ddl, NODES);
    await bench.write(
      `create publication "pgsync_${bench.database.name}" for table r, c
       with (publish_via_partition_root = true)`,
      "alter table c replica identity full",
    );
    bench.start({ bootstrap: false });
    const error = await bench.failure();
    assert.ok(error instanceof PgsyncError, String(error));
    assert.equal(error.code, "REPLICA_IDENTITY");
    bench.start();
    await bench.settled();
    for (const statement of CHANGES) await bench.write(statement);
    await bench.assertSettled("after the changes");
  });

  it("another publication that leaves them out is named, and nothing is changed", async () => {
    const ddl = `${
      tables("twice int generated always as (n * 2) stored")
    }; create publication other for table c`;
    const { code, message, remedy } = await refusal(server, ddl);
    assert.equal(code, "REPLICA_IDENTITY");
    assert.match(message, /"other" leaves out the generated columns of "public"\."c"/);
    assert.match(remedy, /ALTER PUBLICATION "other" SET \(publish_generated_columns = stored\)/);
  });

  it("virtual ones want an index for the identity", async () => {
    await follow(server, tables("twice int generated always as (n * 2) virtual, unique (r_id, id)"));
  });

  it("an identity FULL of before gives way to that index, for a publication would stop all writing", async () => {
    const more = "twice int generated always as (n * 2) virtual, unique (r_id, id)";
    await follow(server, `${tables(more)}; alter table c replica identity full`);
  });

  it("virtual ones without such an index are refused by name", async () => {
    const { code, message, remedy } = await refusal(
      server,
      tables("twice int generated always as (n * 2) virtual"),
    );
    assert.equal(code, "REPLICA_IDENTITY");
    assert.match(message, /virtual generated column "twice"/);
    assert.match(remedy, /CREATE UNIQUE INDEX ON "public"\."c" \("id", "r_id"\)/);
  });
});
