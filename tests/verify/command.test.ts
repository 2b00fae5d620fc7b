/** `pgsync verify` as a process beside a `pgsync --daemon`: what it prints, and its exit codes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import postgres from "postgres";
import { z } from "zod";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { usePostgres } from "../support/postgres.ts";

const reportSchema = z.object({
  equal: z.boolean(),
  indices: z.array(z.object({
    index: z.string(),
    judged: z.string(),
    compared: z.number(),
    missing: z.number(),
    repaired: z.number(),
    differences: z.array(z.object({
      id: z.string(),
      kind: z.string(),
      changes: z.array(z.object({ path: z.string(), expected: z.string(), found: z.string() })),
    })),
  })),
});

describe("pgsync verify", () => {
  it("compares, tells, mends, and says by its exit code what it found", async () => {
    const [server, search] = await Promise.all([usePostgres(), useElasticsearch()]);
    const database = await server.createDatabase();
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    await sql.unsafe(`
      CREATE TABLE book (id bigint PRIMARY KEY, title text, price numeric);
      INSERT INTO book SELECT n, 'book ' || n, n + 0.10 FROM generate_series(1, 5000) AS n;
      CREATE TABLE author (name text PRIMARY KEY);
      INSERT INTO author VALUES ('a'), ('b');
      CREATE TABLE nobody (id int PRIMARY KEY);
      ANALYZE`);
    await sql.end();
    const [books, authors, nobody] = [
      search.indexName("book"),
      search.indexName("author"),
      search.indexName("nobody"),
    ];
    const home = pgsyncHome({
      schema: [
        { database: database.name, index: books, nodes: { table: "book" } },
        { database: database.name, index: authors, nodes: { table: "author" } },
        { database: database.name, index: nobody, nodes: { table: "nobody" } },
      ],
      postgresUrl: database.url,
      searchUrl: search.url,
    });
    const missing = await home.run(["verify"]);
    assert.equal(missing.code, 5, missing.stderr);
    assert.match(missing.stderr, /^error INDEX_MISSING: /m);

    const daemon = await home.start(["--daemon", "--bootstrap"]);
    await daemon.ready();
    const env = { LOG_INTERVAL: "0.01", PGSYNC_LOAD_CHUNK_ROWS: "100" };
    const equal = await home.run(["verify"], { env });
    assert.equal(equal.code, 0, equal.stderr);
    assert.equal(
      equal.stdout,
      [
        `${books}: equal`,
        "  5,000 documents compared, 5,000 in the index looked up: 0 missing, 0 extra, 0 different, 0 refused",
        `${authors}: equal`,
        "  2 documents compared, 2 in the index looked up: 0 missing, 0 extra, 0 different, 0 refused",
        `${nobody}: equal`,
        "  0 documents compared, 0 in the index looked up: 0 missing, 0 extra, 0 different, 0 refused",
      ].join("\n"),
    );
    assert.match(
      equal.stderr,
      /INFO {2}progress +.+: [\d,]+ of about 5,000 documents compared \(\d+%\), [\d,]+\/s/,
    );

    await search.request("DELETE", `/${books}/_doc/17`);
    await search.request("PUT", `/${books}/_doc/18`, '{"id":18,"title":"book 18","price":18.1}');
    const different = await home.run(["verify", "--index", books, "--limit", "1"]);
    assert.equal(different.code, 1, different.stderr);
    assert.match(different.stdout, /: different\n {2}5,000 .+: 1 missing, 0 extra, 1 different, 0 refused\n/);
    assert.match(different.stdout, /\n {2}and 1 more \(--limit\)$/);
    assert.ok(!different.stdout.includes(authors));

    const json = await home.run(["verify", "--json", "--index", books, authors]);
    assert.equal(json.code, 1, json.stderr);
    const report = reportSchema.parse(JSON.parse(json.stdout));
    assert.equal(report.equal, false);
    const [found, others] = report.indices;
    assert.deepEqual([found?.index, found?.judged, found?.compared, found?.missing], [
      books,
      "stream",
      5000,
      1,
    ]);
    assert.deepEqual(found?.differences.toSorted((a, b) => a.id < b.id ? -1 : 1), [
      { id: "17", kind: "missing", changes: [] },
      { id: "18", kind: "different", changes: [{ path: "$.price", expected: "18.10", found: "18.1" }] },
    ]);
    assert.deepEqual(others?.differences, []);

    const repaired = await home.run(["verify", "--repair"]);
    assert.equal(repaired.code, 0, repaired.stderr);
    assert.match(repaired.stdout, /: equal\n.+ 1 missing, 0 extra, 1 different, 0 refused, 2 repaired\n/);
    assert.match(
      repaired.stdout,
      /different 18 \(repaired\)\n {4}\$\.price: PostgreSQL has 18\.10, the index 18\.1\n/,
    );
    assert.equal((await home.run(["verify", "--sample", "10"])).code, 0);

    await daemon.end("SIGTERM");
    const alone = await home.run(["verify", "--since", "0/1"]);
    assert.equal(alone.code, 0, alone.stderr);
    assert.match(alone.stdout, /No sync runs/);
    assert.match(alone.stderr, /no sync follows the slot/);
  });

  for (
    const [args, reason] of [
      [["--sample", "5", "--since", "0/1"], /--sample and --since/],
      [["--since", "yesterday"], /--since must be a WAL position/],
      [["--sample", "0"], /--sample must be a whole number/],
      [["--limit", "x"], /--limit must be a whole number/],
      [["--wait", "0"], /--wait must be a number of seconds/],
    ] as const
  ) {
    it(`refuses ${args.join(" ")}`, async () => {
      const home = pgsyncHome({
        schema: [],
        postgresUrl: "postgresql://nobody@localhost",
        searchUrl: "http://localhost",
      });
      const { code, stderr } = await home.run(["verify", ...args]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, reason);
    });
  }
});
