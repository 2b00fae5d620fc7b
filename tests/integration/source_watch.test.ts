import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { Bench } from "./support.ts";

/** Refuses anything but our error of this code. */
function code(expected: string): (thrown: unknown) => boolean {
  return (thrown) => {
    assert.ok(thrown instanceof PgsyncError, String(thrown));
    assert.equal(thrown.code, expected);
    return true;
  };
}

describe("Tables that others inherit from", () => {
  it("are refused by name, before anything is made", async () => {
    await using bench = await Bench.open(
      17,
      "create table animal (id int primary key); create table dog (name text) inherits (animal)",
      "table: animal",
    );
    await assert.rejects(bench.runOnce(), code("SCHEMA_UNSUPPORTED"));
    const slots = await bench.sql`select from pg_replication_slots where database = ${bench.database.name}`;
    assert.equal(slots.length, 0);
    // The heir itself is a table like any other, and the other is one again when its heirs are gone.
    await bench.write("alter table dog no inherit animal", "insert into animal values (1)");
    await bench.runOnce();
    await bench.assertEqual("without heirs");
  });
});
