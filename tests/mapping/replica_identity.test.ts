import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Relation } from "../../src/catalog/types.ts";
import { changeSources } from "../../src/mapping/change_sources.ts";
import { carries, identityNeeds } from "../../src/mapping/replica_identity.ts";
import { AUTHOR, BOOK, BOOK_AUTHOR, BOOKS, mapped, PUBLISHER, RATING, withIdentity } from "../sync/shop.ts";
import { catalogOf } from "./fixtures.ts";

function needs(rating: Relation = RATING, links: Relation = BOOK_AUTHOR) {
  const catalog = catalogOf(PUBLISHER, BOOK, rating, AUTHOR, links);
  return identityNeeds(changeSources(mapped(BOOKS, catalog)))
    .map(({ relation, columns, sql }) => ({ table: relation.table, columns, sql }));
}

const FULL = 'ALTER TABLE "public"."rating" REPLICA IDENTITY FULL';

describe("The replica identity that a document needs", () => {
  it("carries the link columns; where they lie in the primary key it is there already", () => {
    assert.deepEqual(needs(), [{ table: "rating", columns: ["book_id"], sql: [FULL] }]);
  });

  it("is listed where it was set, without SQL", () => {
    const full = withIdentity(RATING, RATING.columns.map((column) => column.name));
    assert.deepEqual(needs(full), [{ table: "rating", columns: ["book_id"], sql: [] }]);
  });

  it("is the whole row for a link table without a key, and the key again where it was taken away", () => {
    const keyless = withIdentity({ ...BOOK_AUTHOR, primaryKey: [], uniqueIndexes: [] }, []);
    assert.deepEqual(needs(RATING, keyless).at(-1)?.sql, [
      'ALTER TABLE "public"."book_author" REPLICA IDENTITY FULL',
    ]);
    const nothing = withIdentity(BOOK_AUTHOR, []);
    assert.deepEqual(needs(RATING, nothing).at(-1)?.sql, [
      'ALTER TABLE "public"."book_author" REPLICA IDENTITY DEFAULT',
    ]);
  });

  it("is the smallest unique index that holds the columns and no NULL", () => {
    const index = (name: string, columns: string[], allNotNull: boolean) => ({
      name,
      columns,
      allNotNull,
      primary: false,
    });
    const uniqueIndexes = [
      index("three", ["book_id", "value", "id"], true),
      index("two", ["value", "book_id"], true),
      index("nullable", ["book_id"], false),
    ];
    assert.deepEqual(needs({ ...RATING, uniqueIndexes })[0]?.sql, [
      'ALTER TABLE "public"."rating" REPLICA IDENTITY USING INDEX "two"',
    ]);
  });

  it("is set on a partitioned table and on its leaves, for the stream describes rows by the root's", () => {
    const leaf = { ...RATING.heaps[0] ?? assert.fail(), table: "rating_2020" };
    const rating: Relation = { ...RATING, kind: "partitioned", heaps: [leaf] };
    assert.deepEqual(needs(rating)[0]?.sql, [FULL, FULL.replace("rating", "rating_2020")]);
  });

  it("is never an index on a partitioned table, for a partition made later has not got it", () => {
    const byIndex = { kind: "index" as const, columns: ["id", "book_id"] };
    const leaf = { ...RATING.heaps[0] ?? assert.fail(), table: "rating_2020", replicaIdentity: byIndex };
    const rating: Relation = { ...RATING, kind: "partitioned", replicaIdentity: byIndex, heaps: [leaf] };
    assert.deepEqual(needs(rating)[0]?.sql, [FULL, FULL.replace("rating", "rating_2020")]);
    const asTable: Relation = { ...rating, kind: "table", heaps: [{ ...leaf, table: "rating" }] };
    assert.deepEqual(needs(asTable)[0]?.sql, []);
  });

  it("is the whole row for the leaves, too, where the root has it, though the primary key would do", () => {
    const full = withIdentity(BOOK_AUTHOR, ["book_id", "author_id"]);
    const bare = { ...BOOK_AUTHOR.heaps[0] ?? assert.fail(), table: "book_author_1" };
    const leaf = { ...bare, replicaIdentity: { kind: "default" as const, columns: BOOK_AUTHOR.primaryKey } };
    const links: Relation = { ...full, kind: "partitioned", heaps: [leaf] };
    assert.deepEqual(needs(RATING, links).at(-1)?.sql, [
      'ALTER TABLE "public"."book_author_1" REPLICA IDENTITY FULL',
    ]);
  });

  it("is the whole row where the primary key is deferrable, and so can be no identity", () => {
    const deferrable = withIdentity({ ...BOOK_AUTHOR, uniqueIndexes: [] }, []);
    assert.deepEqual(needs(RATING, deferrable).at(-1)?.sql, [
      'ALTER TABLE "public"."book_author" REPLICA IDENTITY FULL',
    ]);
  });

  it("carries what it carries", () => {
    assert.ok(carries({ kind: "default", columns: ["a", "b"] }, ["b"]));
    assert.ok(!carries({ kind: "default", columns: ["a"] }, ["a", "b"]));
  });
});
