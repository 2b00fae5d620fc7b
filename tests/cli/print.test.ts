import assert from "node:assert/strict";
import { test } from "node:test";
import { describePlan } from "../../src/cli/print_plan.ts";
import { describeStatus } from "../../src/cli/print_status.ts";
import { toStatusJson } from "../../src/server/status_json.ts";
import type { DatabasePlan } from "../../src/sync/setup/plan.ts";
import { LOADING, run } from "../server/sample_status.ts";

const NOW = new Date("2026-01-01T01:00:00Z");

test("the status of a run that loads", () => {
  assert.equal(
    describeStatus(toStatusJson(run(LOADING), "9.9.9", NOW), NOW),
    `pgsync 9.9.9, not ready, up 1 h
  books is being loaded
  buffers hold 2.1 MB of 67 MB, 4.2 MB at most so far

shop: loading
  PostgreSQL 17.4 → Elasticsearch 8.19.21
  position 16/B374D800 of 16/B374DA00, 512 B behind (10.0 s)
  slot pgsync_shop keeps 4.1 kB of WAL, 1.0 MB until it is lost
  index  load  loaded  indexed  deleted  dead letters
  books  done  20,000   20,345        6             2
  warning: Two rows of <view> have one key.
  last fault, 30 min ago: SEARCH_UNREACHABLE: The search engine <script> did not answer.
    Check that it runs.`,
  );
});

const PLAN: DatabasePlan = {
  database: "shop",
  server: {
    versionNumber: 170_004,
    version: "17.4",
    database: "shop",
    role: "me",
    isSuperuser: false,
    canReplicate: true,
    canCreate: true,
    walLevel: "logical",
    maxReplicationSlots: 10,
    usedReplicationSlots: 1,
    maxWalSenders: 10,
    usedWalSenders: 1,
    systemIdentifier: "1",
    timeline: 1,
    inRecovery: false,
    encoding: "UTF8",
    blockSize: 8192,
  },
  slot: "pgsync_shop",
  publication: "pgsync_shop",
  problems: [{
    code: "PRIVILEGE_MISSING",
    message: "No right to read public.city.",
    remedy: "GRANT SELECT …",
  }],
  bootstrapSql: ['CREATE PUBLICATION "pgsync_shop" FOR TABLE "public"."book"'],
  replicaIdentities: [{
    table: '"public"."rating"',
    columns: ["book_isbn"],
    reason: "a rating that moves leaves its old book",
    satisfied: false,
    sql: 'ALTER TABLE "public"."rating" REPLICA IDENTITY FULL',
  }],
  views: [{ index: "books", node: "book.rating", table: '"public"."review"', changes: "compared" }],
  warnings: [],
  missingIndexes: [{
    table: '"public"."rating"',
    columns: ["book_isbn"],
    reason: "ratings of a book are looked up",
    sql: 'CREATE INDEX CONCURRENTLY ON "public"."rating" (book_isbn)',
  }],
  indices: [{
    index: "books",
    tree: {
      path: "book",
      table: '"public"."book"',
      join: null,
      type: null,
      estimatedRows: 20_000,
      fields: ["isbn", "title"],
      children: [
        {
          path: "publisher",
          table: "publisher",
          join: "book.publisher_id = publisher.id",
          type: "one_to_one",
          estimatedRows: 100,
          fields: ["name"],
          children: [],
        },
        {
          path: "stars",
          table: '"public"."rating"',
          join: "rating.book_isbn = book.isbn",
          type: "one_to_many",
          estimatedRows: 60_000,
          fields: ["value"],
          children: [],
        },
      ],
    },
    mapping: { properties: { isbn: { type: "keyword" } } },
    settings: {},
    loadSql: "SELECT all",
    keysSql: "SELECT some",
    impactSql: [{ node: "publisher", sql: null }],
  }],
};

test("a plan", () => {
  assert.equal(
    describePlan({ databases: [PLAN] }, false),
    `Database shop, PostgreSQL 17.4, slot pgsync_shop, publication pgsync_shop

Index books
  book                                                           ~20,000 rows  isbn, title
  ├ publisher       one_to_one book.publisher_id = publisher.id  ~100 rows     name
  └ stars (rating)  one_to_many rating.book_isbn = book.isbn     ~60,000 rows  value

Replica identities
  missing  "public"."rating" (book_isbn): a rating that moves leaves its old book
           ALTER TABLE "public"."rating" REPLICA IDENTITY FULL

Views
  "public"."review" below book.rating of books: each change has all documents of the index compared

Missing indexes
  "public"."rating" (book_isbn): ratings of a book are looked up
    CREATE INDEX CONCURRENTLY ON "public"."rating" (book_isbn)

What bootstrap would run
  CREATE PUBLICATION "pgsync_shop" FOR TABLE "public"."book";

What is wrong
  PRIVILEGE_MISSING: No right to read public.city.
    GRANT SELECT …

Statements and mappings: --verbose, or --json.`,
  );
});

test("with --verbose it holds statements and mappings too", () => {
  const text = describePlan({ databases: [PLAN] }, true);
  for (
    const part of [
      "SELECT all",
      "SELECT some",
      '"type": "keyword"',
      "documents touched by publisher:\n  no query needed",
    ]
  ) {
    assert.ok(text.includes(part), part);
  }
});
