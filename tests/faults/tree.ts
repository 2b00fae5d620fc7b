/**
 * A database for the tests of faults: a tree of three levels with a table of links, many small changes to it, and what
 * the documents must be, by SQL that has nothing in common with the program's own.
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import postgres from "postgres";
import type { SharedElasticsearch } from "../support/elasticsearch.ts";
import type { Random } from "../support/random.ts";

/** A connection as the tests use it. */
export type Connection = postgres.Sql;

const TABLES = `
  CREATE TABLE owner (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE item (
    id serial PRIMARY KEY, owner_id int REFERENCES owner ON DELETE SET NULL, title text NOT NULL, amount int NOT NULL
  );
  CREATE TABLE part (id serial PRIMARY KEY, item_id int NOT NULL REFERENCES item ON DELETE CASCADE, name text NOT NULL);
  CREATE TABLE note (id serial PRIMARY KEY, part_id int NOT NULL REFERENCES part ON DELETE CASCADE, body text NOT NULL);
  CREATE TABLE family (id int PRIMARY KEY, name text NOT NULL);
  CREATE TABLE tag (id int PRIMARY KEY, family_id int NOT NULL REFERENCES family, name text NOT NULL);
  CREATE TABLE item_tag (
    item_id int REFERENCES item ON DELETE CASCADE, tag_id int REFERENCES tag, PRIMARY KEY (item_id, tag_id)
  );
  CREATE INDEX ON item (owner_id);
  CREATE INDEX ON part (item_id);
  CREATE INDEX ON note (part_id);
  CREATE INDEX ON item_tag (tag_id);
  CREATE INDEX ON tag (family_id)`;

/** Owners, tags and families stay few, so that a change of one touches many documents. */
const OWNERS = 400;
const TAGS = 300;
const FAMILIES = 30;

/** Makes the tables and `items` items with two parts, two notes and two tags each (a seventh of them without). */
export async function makeTree(url: string, items: number): Promise<void> {
  const sql = connect(url);
  try {
    await sql.unsafe(TABLES);
    await sql.unsafe(`
      INSERT INTO owner SELECT id, 'owner ' || id FROM generate_series(1, ${OWNERS}) AS id;
      INSERT INTO family SELECT id, 'family ' || id FROM generate_series(1, ${FAMILIES}) AS id;
      INSERT INTO tag SELECT id, 1 + id % ${FAMILIES}, 'tag ' || id FROM generate_series(1, ${TAGS}) AS id;
      INSERT INTO item (owner_id, title, amount)
        SELECT nullif(id % ${OWNERS}, 0), 'item ' || id, id % 1000 FROM generate_series(1, ${items}) AS id;
      INSERT INTO part (item_id, name) SELECT id, 'part of ' || id FROM item, generate_series(1, 2) WHERE id % 7 <> 0;
      INSERT INTO note (part_id, body) SELECT id, 'note on ' || id FROM part;
      INSERT INTO item_tag
        SELECT DISTINCT id, 1 + (id * step) % ${TAGS} FROM item, generate_series(1, 2) AS step WHERE id % 7 <> 0;
      ANALYZE`);
  } finally {
    await sql.end();
  }
}

/** The schema file of the tree. @param settings of the index */
export function treeSchema(
  database: string,
  index: string,
  settings: Readonly<Record<string, string>> = {},
): unknown {
  const object = { type: "one_to_one", variant: "object" };
  const array = { type: "one_to_many", variant: "object" };
  return [{
    database,
    index,
    setting: settings,
    nodes: {
      table: "item",
      columns: ["id", "title", "amount"],
      children: [
        { table: "owner", columns: ["id", "name"], relationship: object },
        {
          table: "part",
          label: "parts",
          columns: ["id", "name"],
          relationship: array,
          children: [{ table: "note", label: "notes", columns: ["id", "body"], relationship: array }],
        },
        {
          table: "tag",
          label: "tags",
          columns: ["id", "name"],
          relationship: { ...array, through_tables: ["item_tag"] },
          children: [{ table: "family", columns: ["id", "name"], relationship: object }],
        },
      ],
    },
  }];
}

const EXPECTED = `
  SELECT item.id::text AS id, json_build_object(
    'id', item.id, 'title', item.title, 'amount', item.amount,
    'owner', (SELECT json_build_object('id', owner.id, 'name', owner.name) FROM owner WHERE owner.id = item.owner_id),
    'parts', (
      SELECT json_agg(json_build_object('id', part.id, 'name', part.name, 'notes', (
        SELECT json_agg(json_build_object('id', note.id, 'body', note.body) ORDER BY note.id)
        FROM note WHERE note.part_id = part.id
      )) ORDER BY part.id) FROM part WHERE part.item_id = item.id
    ),
    'tags', (
      SELECT json_agg(json_build_object('id', tag.id, 'name', tag.name,
        'family', json_build_object('id', family.id, 'name', family.name)) ORDER BY tag.id)
      FROM item_tag JOIN tag ON tag.id = item_tag.tag_id JOIN family ON family.id = tag.family_id
      WHERE item_tag.item_id = item.id
    )
  ) AS document FROM item`;

/**
 * Compares all documents with the tables: none missing, none too many, none different.
 *
 * @returns how many documents there are
 * @throws AssertionError with the first ids of each kind
 */
export async function assertEqualTree(
  url: string,
  elasticsearch: SharedElasticsearch,
  index: string,
): Promise<number> {
  const sql = connect(url);
  try {
    const rows = await sql.unsafe<{ id: string; document: unknown }[]>(EXPECTED);
    const expected = new Map(rows.map(({ id, document }) => [id, document]));
    const found = await everyDocument(elasticsearch, index);
    const missing = [...expected.keys()].filter((id) => !found.has(id));
    const extra = [...found.keys()].filter((id) => !expected.has(id));
    const different = [...expected].filter(([id, document]) =>
      found.has(id) && !same(found.get(id), document)
    );
    const [first] = different;
    assert.deepEqual(
      {
        missing: missing.slice(0, 5),
        extra: extra.slice(0, 5),
        different: different.map(([id]) => id).slice(0, 5),
      },
      { missing: [], extra: [], different: [] },
      `${missing.length} documents missing, ${extra.length} too many, ${different.length} different, of ${expected.size}` +
        (first === undefined ? "" : `:\n${JSON.stringify(first[1])}\n${JSON.stringify(found.get(first[0]))}`),
    );
    return expected.size;
  } finally {
    await sql.end();
  }
}

/** Equal as JSON; the order of an object's keys does not matter. */
function same(left: unknown, right: unknown): boolean {
  return sorted(left) === sorted(right);
}

function sorted(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, inner: unknown) =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1))
        : inner,
  );
}

async function everyDocument(
  { request }: SharedElasticsearch,
  index: string,
): Promise<Map<string, unknown>> {
  await request("POST", `/${index}/_refresh`);
  const found = new Map<string, unknown>();
  let page = pageOf(
    (await request("POST", `/${index}/_search?scroll=1m`, { size: 5_000, sort: ["_doc"] })).body,
  );
  while (page.hits.length > 0) {
    for (const { _id, _source } of page.hits) found.set(_id, _source);
    page = pageOf(
      (await request("POST", "/_search/scroll", { scroll: "1m", scroll_id: page.scrollId })).body,
    );
  }
  await request("DELETE", "/_search/scroll", { scroll_id: page.scrollId });
  return found;
}

interface Page {
  readonly scrollId: string;
  readonly hits: readonly { readonly _id: string; readonly _source: unknown }[];
}

function pageOf(body: unknown): Page {
  const text = JSON.stringify(body);
  const answer: { _scroll_id?: string; hits?: { hits: Page["hits"] } } = JSON.parse(text);
  if (answer._scroll_id === undefined || answer.hits === undefined) throw new Error(`no page: ${text}`);
  return { scrollId: answer._scroll_id, hits: answer.hits.hits };
}

/** Sessions that change the tree until they are stopped. */
export interface Writers {
  /** Transactions committed. */
  readonly commits: number;
  /** Ends them; a failed statement that was no conflict between them fails here. */
  stop(): Promise<void>;
}

/**
 * Changes of every kind, a few hundred transactions a second: rows and whole branches inserted, updated, deleted, moved to
 * another parent, linked and unlinked, now and then many rows in one transaction.
 *
 * @param sessions how many write side by side
 */
export function startWriters(url: string, random: Random, sessions: number): Writers {
  const sql = connect(url, sessions);
  let commits = 0;
  let stopped = false;
  const write = async () => {
    while (!stopped) {
      const statements = change(random);
      try {
        await sql.begin(async (transaction) => {
          for (const statement of statements) await transaction.unsafe(statement);
        });
        commits++;
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
      // The pace of the load, not a wait for anything.
      await delay(random.below(12));
    }
  };
  const writing = Promise.allSettled(Array.from({ length: sessions }, write));
  return {
    get commits() {
      return commits;
    },
    async stop() {
      stopped = true;
      const results = await writing;
      await sql.end();
      for (const result of results) if (result.status === "rejected") throw result.reason;
    },
  };
}

/** A deadlock, a row whose parent another session has removed meanwhile, or no parent left to be chosen (null). */
function isConflict(error: unknown): boolean {
  return error instanceof postgres.PostgresError &&
    ["40P01", "23502", "23503", "23505"].includes(error.code);
}

function change(random: Random): string[] {
  const one = (table: string) =>
    `(SELECT id FROM ${table} WHERE id >= ${
      random.below(1_000_000)
    } % (SELECT max(id) FROM ${table}) ORDER BY id LIMIT 1)`;
  const few = (table: string, limit: number) =>
    `(SELECT id FROM ${table} WHERE id >= ${
      random.below(1_000_000)
    } % (SELECT max(id) FROM ${table}) ORDER BY id LIMIT ${limit})`;
  const word = `'w${random.below(1_000_000)}'`;
  const owner = 1 + random.below(OWNERS);
  const tag = 1 + random.below(TAGS);
  const link = `INSERT INTO item_tag SELECT id, ${tag} FROM item WHERE id = ${
    one("item")
  } ON CONFLICT DO NOTHING`;
  const changes: (() => string[])[] = [
    () => [`UPDATE item SET title = ${word}, amount = amount + 1 WHERE id = ${one("item")}`],
    () => [`UPDATE item SET owner_id = ${owner} WHERE id = ${one("item")}`],
    () => [`UPDATE owner SET name = ${word} WHERE id = ${owner}`],
    () => [`UPDATE part SET name = ${word} WHERE id = ${one("part")}`],
    () => [`UPDATE part SET item_id = ${one("item")} WHERE id = ${one("part")}`],
    () => [`UPDATE note SET part_id = ${one("part")} WHERE id = ${one("note")}`],
    () => [`UPDATE note SET body = ${word} WHERE id IN ${few("note", 50)}`],
    () => [`DELETE FROM note WHERE id = ${one("note")}`],
    () => [`DELETE FROM part WHERE id = ${one("part")}`],
    () => [`DELETE FROM item WHERE id = ${one("item")}`],
    () => [`DELETE FROM item WHERE id IN ${few("item", 20)}`],
    () => [
      `WITH made AS (INSERT INTO item (owner_id, title, amount) VALUES (${owner}, ${word}, 1) RETURNING id),
        branch AS (INSERT INTO part (item_id, name) SELECT id, ${word} FROM made RETURNING id)
        INSERT INTO note (part_id, body) SELECT id, ${word} FROM branch`,
      link,
    ],
    // As many as go with the twenty above, so that the tree does not wither.
    () => [
      `WITH made AS (
          INSERT INTO item (owner_id, title, amount)
            SELECT ${owner}, ${word} || n, n FROM generate_series(1, 20) AS n RETURNING id
        ),
        branch AS (INSERT INTO part (item_id, name) SELECT id, ${word} FROM made, generate_series(1, 2) RETURNING id)
        INSERT INTO note (part_id, body) SELECT id, ${word} FROM branch`,
    ],
    () => [`INSERT INTO part (item_id, name) VALUES (${one("item")}, ${word})`],
    () => [`INSERT INTO note (part_id, body) VALUES (${one("part")}, ${word})`],
    () => [link],
    () => [`DELETE FROM item_tag WHERE item_id = ${one("item")}`],
    () => [`UPDATE tag SET name = ${word}, family_id = ${1 + random.below(FAMILIES)} WHERE id = ${tag}`],
    () => [`UPDATE family SET name = ${word} WHERE id = ${1 + random.below(FAMILIES)}`],
    // A key of the root itself: the old document goes, a new one comes.
    () => [
      `WITH RECURSIVE fresh AS (SELECT nextval('item_id_seq') AS id),
        moved AS (INSERT INTO item SELECT fresh.id, owner_id, title, amount FROM item, fresh WHERE item.id = ${
        one("item")
      } RETURNING id)
        UPDATE part SET item_id = moved.id FROM moved WHERE part.item_id = ${one("item")}`,
    ],
  ];
  const chosen = changes[random.below(changes.length)];
  return chosen === undefined ? [] : chosen();
}

/** A pool on the database. */
export function connect(url: string, max = 1): Connection {
  return postgres(url, { max, onnotice: () => {} });
}
