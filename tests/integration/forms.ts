/** All statements that make documents, over the same tables, against the oracle. */
import { readCatalog } from "../../src/catalog/read.ts";
import type { Chunk } from "../../src/mapping/chunk_sql.ts";
import { allKeysSql, keysSql, loadSql, missingKeysSql } from "../../src/mapping/document_sql.ts";
import { mapDocument, type MappedDocument } from "../../src/mapping/tree.ts";
import { arrayLiteral } from "../../src/postgres/array.ts";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import type { DocumentSchema } from "../../src/schema/tree.ts";
import { namedTables } from "../../src/sync/database_mapping.ts";
import { keyBounds } from "../../src/documents/key_bounds.ts";
import { SourceSession } from "../../src/documents/source_session.ts";
import { type Exact, parseExact } from "../../scripts/demo/digits.ts";
import assert from "node:assert/strict";
import { assertSameDocuments } from "../oracle/compare.ts";
import { expectedDocuments } from "../oracle/documents.ts";
import type { Bench } from "./support.ts";

/** Whole, by pages, by keys; by given keys correlated and set-wise: each form must give the oracle's documents. */
export async function assertFormsAgree(bench: Bench): Promise<void> {
  const { postgres } = bench.options;
  const database = bench.database.name;
  const admin = connectPostgres(postgres, { database, purpose: "test", max: 1, kind: "admin" });
  await using session = new SourceSession(postgres, database, { lookups: 1, builders: 1, loaders: 1 });
  try {
    for (const document of bench.schema.documents) {
      const catalog = await readCatalog(admin, namedTables([document]));
      await assertForms(bench, document, mapDocument(document, catalog), session);
    }
  } finally {
    await admin.end();
  }
}

async function assertForms(
  bench: Bench,
  document: DocumentSchema,
  mapped: MappedDocument,
  session: SourceSession,
): Promise<void> {
  const sql = session.builders;
  const expected = await expectedDocuments(bench.sql, document);
  const { root } = mapped;
  const load = async (chunks: readonly Chunk[]) => {
    const parts = [];
    for (const chunk of chunks) parts.push(await rows(sql, loadSql(mapped, chunk), []));
    return distinct(parts.flat());
  };
  const of = `of index ${document.index}`;
  assertSameDocuments(expected, await load([{ kind: "whole" }]), `in the whole form ${of}`);

  const pages: Chunk[] = [{ kind: "pages", from: 0, to: 1 }, { kind: "pages", from: 1, to: null }];
  assertSameDocuments(expected, await load(pages), `by pages ${of}`);

  const bounds = await keyBounds(session, root.relation, 2, AbortSignal.timeout(10_000));
  const ends = [null, ...bounds, null];
  const ranges = ends.slice(1).map((to, at): Chunk => ({ kind: "keys", from: ends[at] ?? null, to }));
  assertSameDocuments(expected, await load(ranges), `by ranges of keys ${of}`);

  const keys = await sql.unsafe(allKeysSql(mapped)).values();
  const parameters = mapped.key.map((_, at) => arrayLiteral(keys.map((key: unknown[]) => String(key[at]))));
  for (const gathering of ["correlated", "set-wise"] as const) {
    const found = distinct(await rows(sql, keysSql(mapped, gathering), parameters));
    assertSameDocuments(expected, found, `by keys, ${gathering}, ${of}`);
  }
  assert.deepEqual(
    [...await sql.unsafe(missingKeysSql(mapped), parameters).values()],
    [],
    "no key is missing",
  );
}

async function rows(sql: Sql, statement: string, parameters: readonly string[]): Promise<[string, Exact][]> {
  const found = await sql.unsafe(statement, [...parameters]).values();
  return found.map(([id, document]: unknown[]) => {
    if (typeof id !== "string" || typeof document !== "string") {
      throw new Error(`no document for ${String(id)}`);
    }
    return [id, parseExact(document)];
  });
}

/** @throws AssertionError where a document came twice */
function distinct(found: readonly [string, Exact][]): Map<string, Exact> {
  const documents = new Map(found);
  assert.equal(documents.size, found.length, "each document comes once");
  return documents;
}
