import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { makeCatalog } from "../../src/catalog/build.ts";
import { checkRelations, checkServer, type ServerNeeds } from "../../src/catalog/checks.ts";
import type { ServerFacts } from "../../src/catalog/types.ts";
import { relation, SERVER } from "../mapping/fixtures.ts";

describe("the check of the server", () => {
  it("finds nothing wrong with a server that is set up", () => {
    assert.deepEqual(problems({}), []);
  });

  it("refuses a server that is too old", () => {
    assert.deepEqual(problems({ versionNumber: 120022, version: "12.22" }), ["POSTGRES_VERSION"]);
  });

  it("refuses a standby", () => {
    assert.deepEqual(problems({ inRecovery: true }), ["STANDBY"]);
  });

  it("says how to set wal_level", () => {
    const [problem] = checkServer({ ...SERVER, walLevel: "replica" });
    assert.equal(problem?.code, "WAL_LEVEL");
    assert.match(problem?.remedy ?? "", /^ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL/);
  });

  it("says how to let the role replicate, its name quoted", () => {
    const [problem] = checkServer({ ...SERVER, role: 'a "b"', canReplicate: false });
    assert.equal(problem?.code, "PRIVILEGE_MISSING");
    assert.match(problem?.remedy ?? "", /^ALTER ROLE "a ""b""" REPLICATION;/);
  });

  it("needs a free slot only where one must be made", () => {
    const full = { usedReplicationSlots: 10, maxReplicationSlots: 10 };
    assert.deepEqual(problems(full), ["SLOTS_EXHAUSTED"]);
    assert.deepEqual(problems(full, { slot: false }), []);
  });

  it("needs as many walsenders as will be opened", () => {
    const nearlyFull = { usedWalSenders: 9, maxWalSenders: 10 };
    assert.deepEqual(problems(nearlyFull), []);
    assert.deepEqual(problems(nearlyFull, { walSenders: 2 }), ["SLOTS_EXHAUSTED"]);
  });

  it("needs CREATE on the database only where a publication must be made", () => {
    const [problem] = checkServer({ ...SERVER, canCreate: false }, { publication: true });
    assert.equal(problem?.remedy, 'GRANT CREATE ON DATABASE "shop" TO "reader";');
    assert.deepEqual(problems({ canCreate: false }), []);
  });

  it("tells everything at once", () => {
    assert.deepEqual(problems({ walLevel: "replica", canReplicate: false, maxReplicationSlots: 0 }), [
      "WAL_LEVEL",
      "PRIVILEGE_MISSING",
      "SLOTS_EXHAUSTED",
    ]);
  });

  function problems(facts: Partial<ServerFacts>, needs?: ServerNeeds): string[] {
    return checkServer({ ...SERVER, ...facts }, needs).map((problem) => problem.code);
  }
});

describe("the check of the relations", () => {
  const catalog = makeCatalog(SERVER, [relation("book", {}), relation("secret", {}, { canSelect: false })]);

  it("suggests a name for one that does not exist, and names each once", () => {
    const name = { schema: "public", table: "boook" };
    assert.deepEqual(checkRelations(catalog, [name, name]).map(({ code, message }) => [code, message]), [
      [
        "TABLE_MISSING",
        'Table "public"."boook" does not exist in database "shop"; did you mean "public"."book"?',
      ],
    ]);
  });

  it("shows what to grant for a table that may not be read", () => {
    const [problem] = checkRelations(catalog, [{ schema: "public", table: "secret" }]);
    assert.equal(problem?.code, "PRIVILEGE_MISSING");
    assert.equal(
      problem?.remedy,
      'GRANT USAGE ON SCHEMA "public" TO "reader"; GRANT SELECT ON "public"."secret" TO "reader";',
    );
  });

  it("refuses a table that others inherit from: a query of it reads their rows too", () => {
    const animals = makeCatalog(SERVER, [{ ...relation("animal", {}), hasInheritors: true }]);
    const [problem] = checkRelations(animals, [{ schema: "public", table: "animal" }]);
    assert.equal(problem?.code, "SCHEMA_UNSUPPORTED");
    assert.match(problem?.message ?? "", /^Other tables inherit from "public"."animal"/);
  });
});
