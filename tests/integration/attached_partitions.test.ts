/**
 * Before version 15, a walsender that has met changes of a table before it became a partition goes on taking it for a table that
 * is not published: of its later changes it says nothing (found by the fuzz on 13 and 14).
 */
import { before, describe, it } from "node:test";
import { type DatabaseServer, databasesOf, ownPostgres } from "../support/postgres.ts";
import { Bench } from "./support.ts";

const LEAVES = `
  create table r (id int primary key, t text) partition by range (id);
  create table r1 partition of r for values from (0) to (10);
  insert into r values (1, 'a')`;
const ATTACH = "alter table r attach partition r2 for values from (10) to (20)";
const LATER = [
  "insert into r values (12, 'heard of?')",
  "update r set t = 'changed' where id >= 10",
  "update r set id = id + 5 where id = 12",
  "delete from r where id = 17",
];

describe("A partition that had rows before it was one, PostgreSQL 13", () => {
  let server: DatabaseServer;
  before(async () => {
    server = databasesOf(await ownPostgres({ major: 13 }));
  });

  async function assertHeard(bench: Bench): Promise<void> {
    for (const statement of LATER) {
      await bench.write(statement);
      await bench.assertSettled(statement);
    }
  }

  for (
    const [what, ...statements] of [
      [
        "in one transaction",
        `create table r2 (like r including all); insert into r2 values (11, 'x'); ${ATTACH}`,
      ],
      ["in several", "create table r2 (like r including all)", "insert into r2 values (11, 'x')", ATTACH],
      [
        "and none any more when it was attached",
        `create table r2 (like r including all); insert into r2 values (11, 'x'); delete from r2; ${ATTACH}`,
      ],
    ] as const
  ) {
    it(`${what}: what comes later is heard of`, async () => {
      await using bench = await Bench.open(server, LEAVES, "table: r");
      bench.start();
      await bench.assertSettled("after the load");
      await bench.write(...statements);
      await bench.assertSettled("attached");
      await assertHeard(bench);
    });

    it(`${what}, while nobody followed: what comes later is heard of`, async () => {
      await using bench = await Bench.open(server, LEAVES, "table: r");
      await bench.runOnce();
      await bench.write(...statements);
      bench.start();
      await bench.assertSettled("attached");
      await assertHeard(bench);
    });
  }
});
