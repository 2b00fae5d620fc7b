/** The library, as examples/library uses it: plan, load, follow, stop. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import postgres from "postgres";
import { follow } from "../../examples/library/main.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { usePostgres } from "../support/postgres.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

test("a program follows a table until it is told to stop", async () => {
  const server = await usePostgres(17);
  const database = await server.createDatabase();
  const search = await useElasticsearch();
  const folder = temporaryFolder("library");
  const sql = postgres(database.url, { max: 1, onnotice: () => {} });
  after(async () => {
    await sql.end();
    removeFolder(folder);
  });
  await sql`CREATE TABLE planet (id int PRIMARY KEY, name text)`;
  await sql`INSERT INTO planet VALUES (1, 'Mercury'), (2, 'Venus')`;
  const index = search.indexName("planets");
  const schema = join(folder, "schema.yaml");
  await writeFile(schema, `database: ${database.name}\nindex: ${index}\nnodes: { table: planet }\n`);

  const lines: string[] = [];
  const stop = new AbortController();
  const running = follow(
    { postgres: database.url, search: search.url, schema, checkpointFolder: folder },
    stop.signal,
    (line) => lines.push(line),
  );
  await eventually(() => assert.ok(lines.includes("now streaming"), lines.join("\n")));
  assert.match(lines[0] ?? "", /^will run CREATE PUBLICATION/);
  assert.ok(lines.includes(`${index}: 2 written, 0 deleted`), lines.join("\n"));

  await sql`INSERT INTO planet VALUES (3, 'Earth')`;
  await sql`DELETE FROM planet WHERE id = 1`;
  await eventually(async () =>
    assert.deepEqual([...(await search.all(index)).keys()].sort(), ["2", "3"], lines.join("\n"))
  );
  stop.abort();
  await running;
  assert.equal(lines.at(-1), "now stopped");
  await sql`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ${database.name}`;
});
