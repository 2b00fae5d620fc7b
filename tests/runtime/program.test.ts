/** One program, three ways to run it: from the sources under Deno, from the sources under Bun, and as the executable that `task build` makes. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import postgres from "postgres";
import { build } from "../../scripts/build.ts";
import { bunPath } from "../../scripts/bun.ts";
import { PROJECT } from "../../scripts/project.ts";
import { freePort } from "../../scripts/servers/ports.ts";
import { removeFolder, runToEnd, startChild, temporaryFolder } from "../../scripts/servers/process.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { eventually } from "../support/eventually.ts";
import { usePostgres } from "../support/postgres.ts";

/** The permissions that the program needs under Deno; README and the task `dev` name the same. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-env",
  "--allow-read",
  "--allow-write",
  "--allow-sys=osRelease,hostname",
];

/** A command line to which the program's arguments are added. */
type Program = readonly [command: string, ...args: string[]];

const cli = join(PROJECT, "cli.ts");
const empty = temporaryFolder("runtime");
after(() => removeFolder(empty));

const programs: { name: string; program: () => Promise<Program> }[] = [
  {
    name: "Deno",
    program: () => Promise.resolve([process.execPath, "run", "--no-prompt", ...PERMISSIONS, cli]),
  },
  { name: "Bun", program: async () => [await bunPath(), cli] },
  { name: "the executable", program: async () => [await build({ outfile: join(empty, "pgsync") })] },
];

for (const { name, program } of programs) {
  describe(`pgsync, run by ${name}`, () => {
    let command = "";
    let prefix: string[] = [];
    before(async () => {
      [command, ...prefix] = await program();
    });
    /** Runs it without anything of ours in the environment or the working directory. */
    const run = (...args: string[]) =>
      runToEnd({ command, args: [...prefix, ...args], cwd: empty, env: { HOME: empty, NO_COLOR: "1" } });

    test("says the version of deno.json", async () => {
      const { version } = JSON.parse(readFileSync(join(PROJECT, "deno.json"), "utf8"));
      assert.match(await run("--version"), new RegExp(`\\b${version.replaceAll(".", "\\.")}\\b`));
    });

    test("loads, ends; follows changes when it is started again, and ends well", async () => {
      const database = await (await usePostgres(17)).createDatabase();
      const search = await useElasticsearch();
      const index = search.indexName("runtime");
      const folder = mkdtempSync(join(empty, "run-"));
      const schema = join(folder, "schema.yaml");
      writeFileSync(schema, `database: ${database.name}\nindex: ${index}\nnodes: { table: planet }\n`);
      const env = {
        HOME: empty,
        NO_COLOR: "1",
        PG_URL: database.url,
        ELASTICSEARCH_URL: search.url,
        CHECKPOINT_PATH: folder,
      };
      const sql = postgres(database.url, { max: 1, onnotice: () => {} });
      await sql`CREATE TABLE planet (id int PRIMARY KEY, name text, mass numeric)`;
      await sql`INSERT INTO planet VALUES (1, 'Mercury', 0.330), (2, 'Venus', 4.870)`;

      const load = [...prefix, "--config", schema, "--bootstrap", "--listen", "off"];
      await runToEnd({ command, args: load, cwd: empty, env });
      assert.equal(await search.sourceText(index, "2"), '{"id":2,"name":"Venus","mass":4.870}');

      const port = await freePort();
      const follow = [...prefix, "--config", schema, "--daemon", "--listen", `127.0.0.1:${port}`];
      const child = await startChild({ command, args: follow, cwd: empty, env });
      try {
        await eventually(async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status === 200, {
          what: `/ready, after:\n${child.output()}`,
        });
        await sql`UPDATE planet SET name = 'Morning star' WHERE id = 2`;
        await sql`DELETE FROM planet WHERE id = 1`;
        await eventually(async () => {
          assert.equal((await search.get(index, "2"))?._source["name"], "Morning star");
          assert.equal(await search.get(index, "1"), null);
        });
      } finally {
        await child.stop();
        await sql.end({ timeout: 1 });
      }
      assert.deepEqual(child.exit(), { code: 0, signal: null }, child.output());
    });
  });
}
