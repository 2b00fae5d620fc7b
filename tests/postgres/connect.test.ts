import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { connectPostgres, type ConnectPurpose, type Sql } from "../../src/postgres/connect.ts";
import { postgresError } from "../../src/postgres/errors.ts";
import type { PostgresOptions } from "../../src/postgres/options.ts";
import { delay } from "../../src/retry/backoff.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { optionsOf } from "./options.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const BUILDER: ConnectPurpose = { database: "postgres", purpose: "test", max: 1, kind: "builder" };

async function withPool<T>(
  options: PostgresOptions,
  purpose: ConnectPurpose,
  use: (sql: Sql) => Promise<T>,
): Promise<T> {
  const sql = connectPostgres(options, purpose);
  try {
    return await use(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function settingsOf(sql: Sql): Promise<Record<string, string>> {
  const rows = await sql<{ name: string; setting: string }[]>`SELECT name, setting FROM pg_settings`;
  return Object.fromEntries(rows.map((row) => [row.name, row.setting]));
}

describe("sessions", () => {
  let options: PostgresOptions;
  before(async () => {
    options = optionsOf((await usePostgres()).url, { timeZone: "Europe/Berlin", workMem: "64MB" });
  });

  test("a builder has fixed settings and cannot write", async () => {
    await withPool(options, { ...BUILDER, purpose: "load" }, async (sql) => {
      const settings = await settingsOf(sql);
      const expected = {
        application_name: "pgsync load",
        search_path: '""',
        TimeZone: "Europe/Berlin",
        DateStyle: "ISO, MDY",
        IntervalStyle: "postgres",
        extra_float_digits: "1",
        bytea_output: "hex",
        quote_all_identifiers: "off",
        client_encoding: "UTF8",
        jit: "off",
        synchronous_commit: "local",
        work_mem: "65536",
        statement_timeout: "0",
        lock_timeout: "0",
        idle_in_transaction_session_timeout: "0",
        default_transaction_read_only: "on",
      };
      for (const [name, value] of Object.entries(expected)) assert.equal(settings[name], value, name);
      await assert.rejects(sql`CREATE TABLE public.nothing ()`, { code: "25006" });
    });
  });

  test("an administrator's session may write, and does not queue for locks for ever", async () => {
    await withPool(options, { ...BUILDER, kind: "admin" }, async (sql) => {
      const settings = await settingsOf(sql);
      assert.equal(settings["default_transaction_read_only"], "off");
      assert.equal(settings["lock_timeout"], "10000");
      assert.equal(settings["search_path"], '""');
    });
  });

  test("a server misses the session soon that others wait for", async () => {
    const purpose: ConnectPurpose = { ...BUILDER, kind: "admin", isMissed: true };
    await withPool(options, purpose, async (sql) => {
      const { tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count } = await settingsOf(sql);
      assert.deepEqual([tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count], [
        "20",
        "10",
        "3",
      ]);
    });
  });

  test("a builder's values are PostgreSQL's own text, in both directions", async () => {
    await withPool(options, BUILDER, async (sql) => {
      const time = "2024-05-06 07:08:09.123456+02";
      const rows = await sql`
        SELECT 1::int4 AS i, true AS b, 9007199254740993::int8 AS l, 1.50::numeric AS n, 1e300::float8 AS f,
          '{"a": 1.00}'::json AS j, ${time}::timestamptz AS t, ${"false"}::bool AS p, ${'{"b": 2.00}'}::json AS k,
          '\\x00ff'::bytea AS x`;
      assert.deepEqual(rows[0], {
        i: "1",
        b: "t",
        l: "9007199254740993",
        n: "1.50",
        f: "1e+300",
        j: '{"a": 1.00}',
        t: time,
        p: "f",
        k: '{"b": 2.00}',
        x: "\\x00ff",
      });
    });
  });

  test("a failed connection does not use up a place in the pool", async () => {
    const nobody = { ...options, port: 1 };
    await withPool(nobody, BUILDER, async (sql) => {
      for (let attempt = 0; attempt < 5; attempt++) {
        await assert.rejects(sql`SELECT 1`, { code: "ECONNREFUSED" });
      }
    });
  });

  test("a server that closes the connection during the login is an error, not an endless loop", async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    const closing = { ...options, port: address.port, sslmode: "disable" } as const;
    await withPool(closing, BUILDER, async (sql) => {
      await assert.rejects(sql`SELECT 1`, (error) => {
        return postgresError(error, { options: closing, database: "postgres" }).code ===
          "POSTGRES_UNREACHABLE";
      });
    });
    assert.equal(connections, 1);
    server.close();
  });

  /** Ends the session that sleeps, when it does. */
  async function terminateSleeper(): Promise<void> {
    await withPool(
      options,
      { ...BUILDER, purpose: "killer", kind: "admin" },
      (admin) =>
        eventually(async () => {
          const rows = await admin`
          SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'pgsync sleeper' AND wait_event = 'PgSleep'`;
          assert.equal(rows.length, 1);
        }),
    );
  }

  test("the server's last words reach the statement that was running, and no other", async () => {
    await withPool(options, { ...BUILDER, purpose: "sleeper" }, async (sql) => {
      for (let round = 0; round < 3; round++) {
        const sleeping = sql`SELECT pg_sleep(600)`.execute();
        const rejected = assert.rejects(sleeping, { code: "57P01" });
        await terminateSleeper();
        await rejected;
        await sql`SELECT 1`;
      }
    });
  });

  test("a transaction outlives neither its connection nor brings the process down with it", async () => {
    await withPool(options, { ...BUILDER, purpose: "sleeper" }, async (sql) => {
      let second: unknown;
      const working = sql.begin(async (transaction) => {
        await assert.rejects(transaction`SELECT pg_sleep(600)`, { code: "57P01" });
        // By now there is nothing to write to.
        await delay(50);
        second = await transaction`SELECT 2`.catch((error) => error);
      });
      const rejected = assert.rejects(working, { code: "57P01" });
      await terminateSleeper();
      await rejected;
      await sql`SELECT 1`;
      await eventually(() => assert.equal(Reflect.get(Object(second), "code"), "57P01"));
    });
  });

  test("a reserved connection that is lost is not given to others", async () => {
    await withPool(options, { ...BUILDER, purpose: "sleeper" }, async (sql) => {
      const reserved = await sql.reserve();
      const rejected = assert.rejects(reserved`SELECT pg_sleep(600)`, { code: "57P01" });
      await terminateSleeper();
      await rejected;
      reserved.release();
      await sql`SELECT 1`;
      await assert.rejects(reserved`SELECT 1`, { code: "57P01" });
    });
  });

  test("transactions commit, roll back, and do not hide a failed statement", async () => {
    await withPool(options, { ...BUILDER, kind: "admin", max: 2 }, async (sql) => {
      await sql`CREATE TEMP TABLE nothing ()`;
      const fault = new Error("no");
      await assert.rejects(
        sql.begin(() => {
          throw fault;
        }),
        fault,
      );
      const value = await sql.begin("ISOLATION LEVEL REPEATABLE READ", async (transaction) => {
        const [row] = await transaction`SHOW transaction_isolation`;
        return row?.["transaction_isolation"];
      });
      assert.equal(value, "repeatable read");
      await assert.rejects(
        sql.begin(async (transaction) => {
          await transaction`SELECT 1 / 0`.catch(() => {});
        }),
        { code: "INTERNAL" },
      );
    });
  });

  test("a running statement can be cancelled", async () => {
    await withPool(options, { ...BUILDER, purpose: "sleeper" }, async (sql) => {
      const query = sql`SELECT pg_sleep(600)`.execute();
      const rejected = assert.rejects(query, { code: "57014" });
      // Before it runs, there is nothing on the server to cancel.
      await withPool(
        options,
        { ...BUILDER, purpose: "watcher", kind: "admin" },
        (admin) =>
          eventually(async () => {
            const rows = await admin`
            SELECT FROM pg_stat_activity WHERE application_name = 'pgsync sleeper' AND wait_event = 'PgSleep'`;
            assert.equal(rows.length, 1);
          }),
      );
      query.cancel();
      await rejected;
      await sql`SELECT 1`;
    });
  });
});

describe("sslmode, as libpq has it", () => {
  const folder = temporaryFolder("tls");
  const authority = join(folder, "ca.crt");
  const stranger = join(folder, "stranger.crt");
  let server: PostgresServer;

  before(async () => {
    // The server makes its Unix socket in here, under another user.
    chmodSync(folder, 0o777);
    const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
    const newAuthority = (name: string) =>
      openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        `/CN=${name} CA`,
        "-keyout",
        `${name}.key`,
        "-out",
        `${name}.crt`,
        "-addext",
        "basicConstraints=critical,CA:TRUE",
      );
    newAuthority("ca");
    newAuthority("stranger");
    openssl(
      "req",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-subj",
      "/CN=localhost",
      "-keyout",
      "server.key",
      "-out",
      "server.csr",
    );
    // The name is localhost alone: by its address the server is somebody else.
    writeFileSync(join(folder, "names"), "subjectAltName=DNS:localhost\n");
    openssl(
      "x509",
      "-req",
      "-in",
      "server.csr",
      "-CA",
      "ca.crt",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      "names",
      "-out",
      "server.crt",
    );
    const key = join(folder, "server.key");
    chmodSync(key, 0o600);
    // The server refuses to run as root, and a key that is not its own.
    if (process.getuid?.() === 0) chownSync(key, 65534, 65534);
    server = await ownPostgres({
      settings: {
        unix_socket_directories: folder,
        ssl: "on",
        ssl_cert_file: join(folder, "server.crt"),
        ssl_key_file: key,
      },
    });
    await withPool(optionsOf(server.url), { ...BUILDER, kind: "admin" }, async (sql) => {
      await sql.unsafe("CREATE ROLE only_tls LOGIN; CREATE ROLE only_plain LOGIN");
      writeFileSync(
        join(server.dataDirectory, "pg_hba.conf"),
        "local all all trust\nhostssl all only_tls all trust\nhostnossl all only_plain all trust\nhost all postgres all trust\n",
      );
      await sql`SELECT pg_reload_conf()`;
    });
  });
  after(() => removeFolder(folder));

  async function usesTls(changes: Partial<PostgresOptions>): Promise<boolean> {
    const options = optionsOf(server.url, { host: "localhost", ...changes });
    return await withPool(options, BUILDER, async (sql) => {
      const [row] = await sql`SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()`;
      return row?.["ssl"] === "true";
    });
  }

  test("disable is plain; allow is plain where that is let in; prefer and require are encrypted", async () => {
    assert.equal(await usesTls({ sslmode: "disable" }), false);
    assert.equal(await usesTls({ sslmode: "allow" }), false);
    assert.equal(await usesTls({ sslmode: "prefer" }), true);
    assert.equal(await usesTls({ sslmode: "require" }), true);
  });

  test("the folder of a Unix socket may be the host; TLS does not matter there", async () => {
    await withPool(optionsOf(server.url, { host: folder, sslmode: "verify-full" }), BUILDER, async (sql) => {
      const [row] = await sql`SELECT inet_server_addr() IS NULL AS local`;
      assert.equal(row?.["local"], "t");
    });
    const nowhere = optionsOf(server.url, { host: join(folder, "nowhere") });
    await withPool(nowhere, BUILDER, (sql) => assert.rejects(sql`SELECT 1`, { code: "ENOENT" }));
  });

  test("what pg_hba.conf refuses in one way, allow and prefer try in the other", async () => {
    await eventually(() =>
      assert.rejects(usesTls({ sslmode: "disable", user: "only_tls" }), { code: "28000" })
    );
    assert.equal(await usesTls({ sslmode: "allow", user: "only_tls" }), true);
    assert.equal(await usesTls({ sslmode: "prefer", user: "only_plain" }), false);
    await assert.rejects(usesTls({ sslmode: "require", user: "only_plain" }), { code: "28000" });
  });

  test("verify-ca checks who signed, verify-full the name too", async () => {
    assert.equal(await usesTls({ sslmode: "verify-ca", sslrootcert: authority }), true);
    assert.equal(await usesTls({ sslmode: "verify-full", sslrootcert: authority }), true);
    assert.equal(await usesTls({ sslmode: "verify-ca", sslrootcert: authority, host: "127.0.0.1" }), true);
    const refused = { code: "POSTGRES_LOGIN", message: /No TLS connection with PostgreSQL at/ };
    await assert.rejects(
      usesTls({ sslmode: "verify-full", sslrootcert: authority, host: "127.0.0.1" }),
      refused,
    );
    await assert.rejects(usesTls({ sslmode: "verify-ca", sslrootcert: stranger }), refused);
    await assert.rejects(usesTls({ sslmode: "verify-full", sslrootcert: stranger }), refused);
    await assert.rejects(usesTls({ sslmode: "verify-full" }), refused);
  });

  test("require with a root certificate checks the chain; prefer falls back to plain", async () => {
    assert.equal(await usesTls({ sslmode: "require", sslrootcert: authority, host: "127.0.0.1" }), true);
    await assert.rejects(usesTls({ sslmode: "require", sslrootcert: stranger }), { code: "POSTGRES_LOGIN" });
    assert.equal(await usesTls({ sslmode: "prefer", sslrootcert: stranger }), false);
  });

  test("a root certificate that cannot be read", async () => {
    const missing = join(folder, "missing.crt");
    await assert.rejects(usesTls({ sslmode: "verify-ca", sslrootcert: missing }), {
      code: "POSTGRES_LOGIN",
      message: `The root certificate ${missing} cannot be read.`,
    });
  });

  test("require against a server without TLS says so", async () => {
    const plain = optionsOf((await usePostgres()).url, { sslmode: "require" });
    await withPool(
      plain,
      BUILDER,
      (sql) =>
        assert.rejects(sql`SELECT 1`, {
          code: "POSTGRES_LOGIN",
          message: /offers no TLS, but sslmode is require/,
        }),
    );
  });
});

test(
  "who waits for a connection gets one, also where the only one is lost meanwhile",
  { timeout: 20_000 },
  async () => {
    const options = optionsOf((await usePostgres()).url);
    await withPool(options, BUILDER, (pool) =>
      withPool(options, BUILDER, async (other) => {
        const holder = await pool.reserve();
        const [session] = await holder`SELECT pg_backend_pid()::text AS pid`;
        const reserved = pool.reserve();
        const begun = pool.begin((sql) => sql`SELECT 'begun' AS state`);
        await other`SELECT pg_terminate_backend(${session?.["pid"]}::int)`;
        const second = await reserved;
        assert.deepEqual([...await second`SELECT 'usable' AS state`], [{ state: "usable" }]);
        second.release();
        assert.deepEqual([...await begun], [{ state: "begun" }]);
        holder.release();
      }));
  },
);
