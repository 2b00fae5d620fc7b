/** What somebody between us and a PostgreSQL with TLS says before the login, or a server that is none. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { chmodSync, chownSync, copyFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { configure, reset } from "@logtape/logtape";
import { removeFolder, SERVER_USER, temporaryFolder } from "../../scripts/servers/process.ts";
import type { PostgresServer } from "../../scripts/servers/postgres.ts";
import { connectPostgres, errorContext, type Sql } from "../../src/postgres/connect.ts";
import { postgresError } from "../../src/postgres/errors.ts";
import type { SslMode } from "../../src/postgres/options.ts";
import { makeAuthority } from "../support/certificates.ts";
import { ownPostgres } from "../support/postgres.ts";
import { optionsOf } from "./options.ts";

const authority = makeAuthority("database");
const folder = temporaryFolder("negotiation");
after(() => removeFolder(folder));
let server: PostgresServer;

before(async () => {
  const certificate = authority.sign("database", "DNS:localhost");
  const [cert, key] = [join(folder, "server.crt"), join(folder, "server.key")];
  copyFileSync(certificate.certificateFile, cert);
  copyFileSync(certificate.keyFile, key);
  // Its user must be able to read here; the server refuses a key that is not its own.
  chmodSync(folder, 0o755);
  chmodSync(cert, 0o644);
  chmodSync(key, 0o600);
  if (process.getuid?.() === 0) chownSync(key, SERVER_USER.uid, SERVER_USER.gid);
  server = await ownPostgres({ settings: { ssl: "on", ssl_cert_file: cert, ssl_key_file: key } });
});

/** What the first client meets, when it has sent its first message: it asks for TLS, unless the mode is disable. */
type First = (client: Socket, lead: (sent?: Buffer) => void, sent: Buffer) => void;

/** Opens a pool whose first connection meets `first`; all others lead to the server. */
async function withPool(
  sslmode: SslMode,
  first: First,
  use: (sql: Sql) => Promise<void>,
  changes: { readonly host?: string; readonly password?: string } = {},
): Promise<void> {
  let count = 0;
  const between = createServer((client) => {
    client.on("error", () => {});
    const lead = (sent?: Buffer) => {
      const upstream = connect(server.port, "127.0.0.1");
      if (sent !== undefined) upstream.write(sent);
      upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
      client.on("close", () => upstream.destroy());
      client.pipe(upstream);
      upstream.pipe(client);
    };
    if (++count > 1) lead();
    else client.once("data", (sent: Buffer) => first(client, lead, sent));
  });
  await new Promise<void>((resolve) => between.listen(0, changes.host ?? "127.0.0.1", resolve));
  const address = between.address();
  assert.ok(typeof address === "object" && address !== null);
  const options = { ...optionsOf(server.url), port: address.port, sslmode, ...changes };
  const sql = connectPostgres(options, { database: "postgres", purpose: "test", max: 2, kind: "builder" });
  try {
    await use(sql);
  } finally {
    await sql.end({ timeout: 1 });
    between.close();
  }
}

/** Whether each of two connections, which are opened one after the other, is encrypted. */
async function encrypted(sql: Sql): Promise<(string | undefined)[]> {
  const first = await sql.reserve();
  const second = await sql.reserve();
  try {
    const found: (string | undefined)[] = [];
    for (const session of [first, second]) {
      const [row] = await session<{ ssl: string }[]>`
        SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()`;
      found.push(row?.ssl);
    }
    return found;
  } finally {
    first.release();
    second.release();
  }
}

const isCut: First = (client) => {
  client.once("data", () => client.resetAndDestroy());
  client.write("S");
};

const noTls: First = (client, lead) => {
  client.write("N");
  lead();
};

describe("prefer falls back to plain for one connection only", () => {
  const fallbacks: Readonly<Record<string, First>> = {
    "where the server has no TLS": noTls,
    "where the handshake fails": (client) => {
      client.once("data", () => client.end(Buffer.of(0x15, 3, 3, 0, 2, 2, 40)));
      client.write("S");
    },
  };
  for (const [where, first] of Object.entries(fallbacks)) {
    test(
      where,
      () =>
        withPool("prefer", first, async (sql) => assert.deepEqual(await encrypted(sql), ["false", "true"])),
    );
  }
});

describe("not to be reached, and tried again, is a server", () => {
  const faults: Readonly<Record<string, First>> = {
    "whose connection is cut in the handshake": isCut,
    "that closes it there": (client) => {
      client.once("data", () => client.end());
      client.write("S");
    },
    "that cannot make a process": (client) =>
      void client.end("Ecould not fork new process for connection: secret\n\0"),
  };
  for (const sslmode of ["prefer", "require"] as const) {
    for (const [what, first] of Object.entries(faults)) {
      test(`${what}, with ${sslmode}`, () =>
        withPool(sslmode, first, async (sql) => {
          await assert.rejects(sql`SELECT 1`, (thrown) => {
            const error = postgresError(thrown, errorContext(sql));
            assert.equal(error.code, "POSTGRES_UNREACHABLE", error.message);
            assert.doesNotMatch(error.message, /secret/);
            return true;
          });
          assert.deepEqual(await encrypted(sql), ["true", "true"]);
        }));
    }
  }
});

test("what sends a long message before the login is no PostgreSQL, and is not listened to", () =>
  withPool("disable", (client) => client.write(Buffer.of(0x52, 0x3f, 0xff, 0xff, 0xff, 0)), async (sql) => {
    await assert.rejects(sql`SELECT 1`, {
      code: "POSTGRES_LOGIN",
      message: /does not speak PostgreSQL's protocol/,
    });
  }));

const [away] = Object.values(networkInterfaces()).flat().filter((address) =>
  address?.family === "IPv4" && !address.internal
);

describe("a password that goes to another machine without encryption", {
  skip: away === undefined ? "this machine has no address that others could have" : false,
}, () => {
  const host = away?.address ?? "";
  const password = "pg-secret";
  async function warnings(...[sslmode, first, changes]: [SslMode, First, Parameters<typeof withPool>[3]]) {
    const logged: string[] = [];
    await configure({
      sinks: { kept: (record) => void logged.push(record.message.join("")) },
      loggers: [
        { category: "pgsync", lowestLevel: "warning", sinks: ["kept"] },
        { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["kept"] },
      ],
    });
    try {
      await withPool(sslmode, first, async (sql) => void await encrypted(sql), changes);
    } finally {
      await reset();
    }
    return logged;
  }
  const nobody: First = (_client, lead, sent) => lead(sent);

  test("is warned of, once", async () => {
    for (const [sslmode, first] of [["disable", nobody], ["prefer", noTls]] as const) {
      const [warning = "", ...others] = await warnings(sslmode, first, { host, password });
      assert.match(warning, /^The login to PostgreSQL goes to \S+ without encryption/);
      assert.doesNotMatch(warning, /secret/);
      assert.deepEqual(others, []);
    }
  });
  test("is not there: TLS, no password, this machine itself", async () => {
    assert.deepEqual(await warnings("require", nobody, { host, password }), []);
    assert.deepEqual(await warnings("prefer", noTls, { host }), []);
    assert.deepEqual(await warnings("prefer", noTls, { password }), []);
  });
});
