/** What a run that must not begin may have left behind, and the tables on which it is tried. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { client } from "../support/elasticsearch.ts";
import type { Ended, PgsyncHome } from "../support/pgsync_process.ts";

/** Two tables joined by a foreign key, two that nothing joins, and one that two foreign keys join. */
export const TABLES = `
  CREATE TABLE book (id int PRIMARY KEY, title text NOT NULL);
  CREATE TABLE rating (id int PRIMARY KEY, book_id int NOT NULL REFERENCES book, stars int NOT NULL);
  CREATE TABLE shelf (id int PRIMARY KEY, label text NOT NULL);
  CREATE TABLE loan (id int PRIMARY KEY, book_id int REFERENCES book, returned_book_id int REFERENCES book);
  INSERT INTO book VALUES (1, 'one'), (2, 'two');
  INSERT INTO rating VALUES (1, 1, 5), (2, 1, 3)`;

/** The schema file of books with ratings; `child` and `columns` change it. */
export function bookSchema(
  database: string,
  index: string,
  { child = "rating", columns = ["id", "title"] }: {
    readonly child?: string;
    readonly columns?: readonly string[];
  } = {},
): unknown {
  return [{
    database,
    index,
    nodes: {
      table: "book",
      columns,
      children: [{ table: child, relationship: { type: "one_to_many", variant: "object" } }],
    },
  }];
}

/** Runs SQL as the superuser (or whom the URL names) and returns its rows. */
export async function execute(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const session = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await session.unsafe(sql);
  } finally {
    await session.end();
  }
}

/** Everything that a run makes, as it stands now. */
export interface Traces {
  readonly slots: readonly unknown[];
  readonly publications: readonly unknown[];
  /** Tables and their replica identities. */
  readonly identities: readonly unknown[];
  /** Indices whose names begin with that of the schema file. */
  readonly indices: readonly string[];
}

/** Reads what stands in PostgreSQL and in the search engine. Null stands for a server that is not there. */
export async function traces(
  postgresUrl: string | null,
  searchUrl: string | null,
  index: string,
): Promise<Traces> {
  const [row] = postgresUrl === null ? [] : await execute(
    postgresUrl,
    `SELECT
      (SELECT json_agg(slot_name::text ORDER BY slot_name) FROM pg_replication_slots
        WHERE database = current_database()) AS slots,
      (SELECT json_agg(pubname::text ORDER BY pubname) FROM pg_publication) AS publications,
      (SELECT json_agg(relname || ' ' || relreplident::text ORDER BY relname) FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace) AS identities`,
  );
  const list = (value: unknown): unknown[] => Array.isArray(value) ? value : [];
  return {
    slots: list(row?.["slots"]),
    publications: list(row?.["publications"]),
    identities: list(row?.["identities"]),
    indices: searchUrl === null ? [] : await indices(searchUrl, index),
  };
}

async function indices(searchUrl: string, index: string): Promise<string[]> {
  const { body } = await client(searchUrl).request(
    "GET",
    `/${index}*?expand_wildcards=all&filter_path=*.aliases`,
  );
  return Object.keys(body ?? {}).sort();
}

/** A checkpoint file may have been opened, but it must say nothing to the next run. */
export function assertNoCheckpoint(home: PgsyncHome): void {
  for (const name of readdirSync(home.folder).filter((file) => file.endsWith(".checkpoint"))) {
    using checkpoint = Checkpoint.open(join(home.folder, name));
    assert.deepEqual([checkpoint.identity(), checkpoint.position()], [null, null], `${name} is not empty`);
  }
}

/** An error as an operator sees it. */
export interface Failure {
  readonly code: string;
  /** The exit code. */
  readonly exit: number;
  /** Matches the sentence. */
  readonly sentence: RegExp;
  /** Matches the remedy. */
  readonly remedy: RegExp;
}

/**
 * Checks how a run failed: the exit code, one sentence and its remedy at the end of stderr, no stack trace, nothing on
 * stdout.
 *
 * @returns the remedy
 */
export function assertFailure(ended: Ended, { code, exit, sentence, remedy }: Failure): string {
  const { stderr, stdout } = ended;
  const at = stderr.search(/^error /m);
  const log = stderr.slice(0, Math.max(at, 0));
  const message = stderr.slice(Math.max(at, 0));
  assert.equal(ended.code, exit, `exit code ${ended.code}, not ${exit}:\n${stderr}`);
  assert.match(message, new RegExp(`^error ${code}: `), stderr);
  const [head = "", ...more] = message.split("\n");
  assert.match(head, sentence);
  assert.match(head, /[.?]$/, "a whole sentence");
  const advice = more.map((line) => line.trim()).join("\n");
  assert.match(advice, remedy);
  assert.doesNotMatch(stderr, /^ +at .*:\d+:\d+/m, "no stack trace");
  assert.doesNotMatch(log, / (ERROR|FATAL) /, "the error is told once");
  assert.doesNotMatch(stderr, /undefined|\[object/);
  assert.equal(stdout, "");
  return advice;
}
