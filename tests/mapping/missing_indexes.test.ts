import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Relation } from "../../src/catalog/types.ts";
import { missingIndexes } from "../../src/mapping/missing_indexes.ts";
import { AUTHOR, BOOK, BOOK_AUTHOR, BOOKS, mapped, PUBLISHER, RATING } from "../sync/shop.ts";
import { catalogOf } from "./fixtures.ts";

function missing(rating: Relation, book: Relation = BOOK): string[] {
  return missingIndexes(mapped(BOOKS, catalogOf(PUBLISHER, book, rating, AUTHOR, BOOK_AUTHOR))).map((need) =>
    need.sql
  );
}

const indexed = (relation: Relation, ...columns: string[]): Relation => ({
  ...relation,
  indexes: [{ name: "some", columns }],
});

/** The link table's primary key leads with the other side. */
const FAR_SIDE = 'CREATE INDEX CONCURRENTLY ON "public"."book_author" ("author_id")';

describe("Missing indexes", () => {
  it("are those of link columns that are looked up, downward or upward", () => {
    assert.deepEqual(missing(RATING), [
      'CREATE INDEX CONCURRENTLY ON "public"."book" ("publisher_id")',
      'CREATE INDEX CONCURRENTLY ON "public"."rating" ("book_id")',
      FAR_SIDE,
    ]);
  });

  it("are not those that an index leads with", () => {
    assert.deepEqual(missing(indexed(RATING, "book_id", "id"), indexed(BOOK, "publisher_id")), [FAR_SIDE]);
    assert.equal(missing(indexed(RATING, "id", "book_id"), indexed(BOOK, "publisher_id")).length, 2);
  });

  it("are not made concurrently on a partitioned table, which cannot", () => {
    assert.equal(
      missing({ ...RATING, kind: "partitioned" })[1],
      'CREATE INDEX ON "public"."rating" ("book_id")',
    );
  });
});
