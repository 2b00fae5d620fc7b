/**
 * What an operator can do wrong: one sentence with the remedy, the documented exit code, and nothing half made. Each case
 * is a process of its own, started as a newcomer would: `pgsync --daemon --bootstrap`, unless the case says otherwise.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { freePort } from "../../scripts/servers/ports.ts";
import { EXIT } from "../../src/errors/codes.ts";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { pgsyncHome } from "../support/pgsync_process.ts";
import { ownPostgres, usePostgres, withDatabase } from "../support/postgres.ts";
import {
  assertFailure,
  assertNoCheckpoint,
  bookSchema,
  execute,
  type Failure,
  TABLES,
  traces,
} from "./traces.ts";

const BOOTSTRAP = ["--daemon", "--bootstrap"];
const postgres = await usePostgres();
const elasticsearch = await useElasticsearch();

/** How a case departs from a run that would do well. */
interface Departure {
  readonly schema?: (database: string, index: string) => unknown;
  readonly postgresUrl?: (url: string) => string | Promise<string>;
  readonly searchUrl?: () => string | Promise<string>;
  /** SQL for the superuser beforehand. */
  readonly sql?: string;
  /** Beforehand, in the search engine. */
  readonly search?: (index: string) => Promise<void>;
  readonly args?: readonly string[];
}

/** Runs a case on a database of its own and checks that it left everything as it was. */
async function refused(departure: Departure, failure: Failure): Promise<void> {
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("bad");
  await execute(database.url, TABLES);
  if (departure.sql !== undefined) await execute(database.url, departure.sql);
  await departure.search?.(index);
  const home = pgsyncHome({
    schema: (departure.schema ?? bookSchema)(database.name, index),
    postgresUrl: await departure.postgresUrl?.(database.url) ?? database.url,
    searchUrl: await departure.searchUrl?.() ?? elasticsearch.url,
  });
  const before = await traces(database.url, elasticsearch.url, index);
  assertFailure(await home.run(departure.args ?? BOOTSTRAP), failure);
  assert.deepEqual(await traces(database.url, elasticsearch.url, index), before);
  assertNoCheckpoint(home);
  await database.drop();
}

async function closedPort(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

describe("servers", () => {
  test("PostgreSQL is not there", () =>
    refused({ postgresUrl: async () => `postgres://me@${await closedPort()}/x` }, {
      code: "POSTGRES_UNREACHABLE",
      exit: EXIT.connection,
      sentence: /PostgreSQL at 127\.0\.0\.1:\d+ cannot be reached: the connection was refused\.$/,
      remedy: /host and port.*PG_URL/,
    }));

  test("PostgreSQL's host has no address", () =>
    refused({ postgresUrl: () => "postgres://me@no-such-host.invalid/x" }, {
      code: "POSTGRES_UNREACHABLE",
      exit: EXIT.connection,
      sentence: /no-such-host\.invalid.*the host name/,
      remedy: /host and port/,
    }));

  test("the search engine is not there", () =>
    // With --daemon it would be waited for.
    refused({ searchUrl: async () => `http://${await closedPort()}`, args: ["--bootstrap"] }, {
      code: "SEARCH_UNREACHABLE",
      exit: EXIT.connection,
      sentence: /127\.0\.0\.1:\d+/,
      remedy: /ELASTICSEARCH_URL/,
    }));

  test("what is at the search engine's address is something else", async () => {
    const server = createServer((_request, response) => response.end("<html>a web page</html>"));
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : null;
    try {
      await refused({ searchUrl: () => `http://127.0.0.1:${port}` }, {
        code: "SEARCH_VERSION",
        exit: EXIT.setup,
        sentence: /./,
        remedy: /Elasticsearch|OpenSearch/,
      });
    } finally {
      server.close();
    }
  });

  test("the database is missing", () =>
    refused({ schema: (_database, index) => bookSchema("no_such_database", index) }, {
      code: "POSTGRES_LOGIN",
      exit: EXIT.connection,
      sentence: /has no database "no_such_database"/,
      remedy: /database/,
    }));

  test("the role is missing", () =>
    refused({ postgresUrl: (url) => withDatabase(url, "postgres", "nobody_of_that_name") }, {
      code: "POSTGRES_LOGIN",
      exit: EXIT.connection,
      sentence: /nobody_of_that_name/,
      remedy: /user/,
    }));
});

describe("tables that do not fit the schema file", () => {
  test("a table is missing", () =>
    refused({ schema: (database, index) => bookSchema(database, index, { child: "ratings" }) }, {
      code: "TABLE_MISSING",
      exit: EXIT.setup,
      sentence: /"public"\."ratings" does not exist.*did you mean "public"\."rating"\?/,
      remedy: /./,
    }));

  test("a column is missing", () =>
    refused({ schema: (database, index) => bookSchema(database, index, { columns: ["id", "titel"] }) }, {
      code: "COLUMN_MISSING",
      exit: EXIT.setup,
      sentence: /"titel".*did you mean "title"/,
      remedy: /./,
    }));

  test("no foreign key joins a table to its parent", () =>
    refused({ schema: (database, index) => bookSchema(database, index, { child: "shelf" }) }, {
      code: "FOREIGN_KEY_MISSING",
      exit: EXIT.setup,
      sentence: /shelf.*book/,
      remedy: /foreign_key: \{.*ALTER TABLE "public"\."shelf"/,
    }));

  test("two foreign keys could be meant", () =>
    refused({ schema: (database, index) => bookSchema(database, index, { child: "loan" }) }, {
      code: "FOREIGN_KEY_AMBIGUOUS",
      exit: EXIT.setup,
      sentence: /loan/,
      remedy: /returned_book_id/,
    }));

  test("the root has no primary key", () =>
    refused({
      sql:
        "ALTER TABLE rating DROP CONSTRAINT rating_book_id_fkey; ALTER TABLE loan DROP CONSTRAINT loan_book_id_fkey, DROP CONSTRAINT loan_returned_book_id_fkey; ALTER TABLE book DROP CONSTRAINT book_pkey",
      schema: (database, index) => [{ database, index, nodes: { table: "book" } }],
    }, {
      code: "PRIMARY_KEY_MISSING",
      exit: EXIT.setup,
      sentence: /book/,
      remedy: /primary key/i,
    }));
});

describe("what stands there already, or does not", () => {
  test("no slot, and no --bootstrap", () =>
    refused({
      args: ["--daemon"],
      sql:
        "ALTER TABLE rating REPLICA IDENTITY FULL; DO $$ BEGIN EXECUTE format('CREATE PUBLICATION pgsync_%s FOR TABLE book, rating WITH (publish_via_partition_root)', current_database()); END $$",
    }, {
      code: "SLOT_MISSING",
      exit: EXIT.setup,
      sentence: /slot "pgsync_test_\w+" does not exist/,
      remedy: /--bootstrap/,
    }));

  test("nothing of it, and no --bootstrap", () =>
    refused({ args: ["--daemon"] }, {
      code: "REPLICA_IDENTITY",
      exit: EXIT.setup,
      sentence: /"public"\."rating"/,
      remedy: /--bootstrap/,
    }));

  test("an index of that name, not ours", () =>
    refused({ search: async (index) => void await elasticsearch.request("PUT", `/${index}`) }, {
      code: "INDEX_FOREIGN",
      exit: EXIT.setup,
      sentence: /named "bad-[^"]+" exists that this program did not make/,
      remedy: /./,
    }));

  test("an index of that name, made for another database", () =>
    refused({
      search: (index) => {
        return elasticsearch.request("PUT", `/${index}_1`, {
          aliases: { [index]: {} },
          mappings: {
            _meta: {
              pgsync: {
                schema_hash: "0",
                database: "another",
                system_identifier: "1",
                loaded: true,
                created_by: "0.1.0",
              },
            },
          },
        }).then(() => {});
      },
    }, {
      code: "INDEX_FOREIGN",
      exit: EXIT.setup,
      sentence: /was made for database "another"/,
      remedy: /another index name/,
    }));

  test("a slot of that name with another plugin", () =>
    refused({
      sql: "SELECT pg_create_logical_replication_slot('pgsync_' || current_database(), 'test_decoding')",
    }, {
      code: "SLOT_MISMATCH",
      exit: EXIT.setup,
      sentence: /output plugin test_decoding/,
      remedy: /--slot/,
    }));

  test("the status server's address is in use", async () => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : null;
    try {
      await refused({ args: [...BOOTSTRAP, "--listen", `127.0.0.1:${port}`] }, {
        code: "LISTEN",
        exit: EXIT.setup,
        sentence: new RegExp(`127\\.0\\.0\\.1:${port}`),
        remedy: /--listen off/,
      });
    } finally {
      server.close();
    }
  });
});

describe("the command line and the schema file", () => {
  const usage = { code: "USAGE", exit: EXIT.usage } as const;

  test("an unknown option", () =>
    refused({ args: ["--bootstap"] }, {
      ...usage,
      sentence: /Unknown option '--bootstap'.*Did you mean --bootstrap\?/,
      remedy: /--help/,
    }));

  test("nothing is configured", async () => {
    const home = pgsyncHome({ schema: "", postgresUrl: "", searchUrl: "" });
    assertFailure(await home.run([], { env: { SCHEMA: "" } }), {
      ...usage,
      sentence: /No schema file is named\.$/,
      remedy: /--config/,
    });
  });

  test("a schema file with mistakes: each with its place", async () => {
    const schema = '[\n  {\n    "database": "shop",\n    "nods": { "table": "book" }\n  }\n]\n';
    const home = pgsyncHome({ schema, postgresUrl: postgres.url, searchUrl: elasticsearch.url });
    const { code, stderr } = await home.run([]);
    assert.equal(code, EXIT.usage);
    assert.match(stderr, /schema\.json:4:5: .*"?nods"?.*did you mean "?nodes/);
    assert.doesNotMatch(stderr, /^ +at /m);
  });

  test("a value that is not allowed", () =>
    refused({ args: [...BOOTSTRAP, "--num-workers", "many"] }, {
      ...usage,
      sentence: /--num-workers must be a whole number from 1 to 64, but is "many"/,
      remedy: /./,
    }));
});

test("a second process on the same checkpoint file; one with another file waits for the slot", async () => {
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("bad");
  await execute(database.url, TABLES);
  const settings = {
    schema: bookSchema(database.name, index),
    postgresUrl: database.url,
    searchUrl: elasticsearch.url,
  };
  const home = pgsyncHome(settings);
  const first = await home.start(BOOTSTRAP);
  await first.ready();
  assertFailure(await home.run(BOOTSTRAP), {
    code: "CHECKPOINT_LOCKED",
    exit: EXIT.setup,
    sentence: /\.checkpoint/,
    remedy: /other process/,
  });
  // A slot is let go by the server a moment after its process is gone, so to wait is right; but it is told.
  const other = await pgsyncHome(settings).start(["--daemon"]);
  await other.logged(/in use by process \d+/);
  const { status, body } = await other.get("/ready");
  assert.equal(status, 503, JSON.stringify(body));
  assert.equal((await other.end("SIGTERM")).code, 0);
  await first.ready();
  assert.equal((await first.end("SIGTERM")).code, 0);
});

test("a role without any right comes, by one remedy after the other, to a run that works", async () => {
  const database = await postgres.createDatabase();
  const index = elasticsearch.indexName("bad");
  const role = `role_${database.name}`;
  await execute(database.url, `${TABLES}; CREATE ROLE ${role} LOGIN`);
  const home = pgsyncHome({
    schema: bookSchema(database.name, index),
    postgresUrl: withDatabase(database.url, database.name, role),
    searchUrl: elasticsearch.url,
  });
  const before = await traces(database.url, elasticsearch.url, index);
  const codes: string[] = [];
  try {
    for (let attempt = 0; attempt < 12; attempt++) {
      const ended = await home.run(["--bootstrap"]);
      if (ended.code === 0) break;
      const code = /^error (\w+)/m.exec(ended.stderr)?.[1] ?? "";
      const advice = assertFailure(ended, {
        code: "(PRIVILEGE_MISSING|REPLICA_IDENTITY)",
        exit: EXIT.setup,
        sentence: /[Rr]ole "/,
        remedy: /;/,
      });
      if (codes.length === 0) assert.deepEqual(await traces(database.url, elasticsearch.url, index), before);
      assert.deepEqual((await traces(database.url, elasticsearch.url, index)).slots, []);
      assertNoCheckpoint(home);
      codes.push(code);
      // What stands before the SQL, and what a managed service wants instead, is for people.
      const sql = advice.replace(/^Have .*? run: /, "").replace(/\s*\(on Amazon.*$/, "");
      await execute(database.url, sql);
    }
    assert.equal(await elasticsearch.count(index), 2, codes.join(", "));
    assert.ok(
      codes.includes("REPLICA_IDENTITY") && codes.filter((code) => code === "PRIVILEGE_MISSING").length >= 3,
    );
  } finally {
    await database.drop();
    await execute(postgres.url, `DROP ROLE ${role}`);
  }
});

test("a server with a password, wal_level=replica, and then without a free slot", async () => {
  const server = await ownPostgres({ password: "right", settings: { wal_level: "replica" } });
  await execute(server.url, TABLES);
  const index = elasticsearch.indexName("bad");
  const attempt = async (failure: Failure, password: string | undefined, url = server.url) => {
    const postgresUrl = new URL(url);
    postgresUrl.password = password ?? "";
    const home = pgsyncHome({
      schema: bookSchema("postgres", index),
      postgresUrl: postgresUrl.href,
      searchUrl: elasticsearch.url,
    });
    const before = await traces(server.url, elasticsearch.url, index);
    assertFailure(await home.run(BOOTSTRAP), failure);
    assert.deepEqual(await traces(server.url, elasticsearch.url, index), before);
    assertNoCheckpoint(home);
  };
  const login = { code: "POSTGRES_LOGIN", exit: EXIT.connection, remedy: /PG_PASSWORD/ } as const;
  await attempt({ ...login, sentence: /postgres/ }, "wrong");
  await attempt({ ...login, sentence: /no password/ }, undefined);
  await attempt({
    code: "WAL_LEVEL",
    exit: EXIT.setup,
    sentence: /wal_level is replica/,
    remedy: /ALTER SYSTEM SET wal_level = 'logical'/,
  }, "right");
  await server.restart("fast", { wal_level: "logical", max_replication_slots: "1" });
  await execute(server.url, "SELECT pg_create_physical_replication_slot('somebodys')");
  await attempt({
    code: "SLOTS_EXHAUSTED",
    exit: EXIT.setup,
    sentence: /All 1 replication slots are taken/,
    remedy: /max_replication_slots/,
  }, "right");
});
