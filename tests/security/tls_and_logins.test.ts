/** An Elasticsearch and a PostgreSQL that demand TLS, a certificate of the client, and a login. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { chmodSync, chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { createServer } from "node:tls";
import postgres from "postgres";
import { build } from "../../scripts/build.ts";
import { removeFolder, SERVER_USER, temporaryFolder } from "../../scripts/servers/process.ts";
import { BulkWriter } from "../../src/search/bulk_writer.ts";
import { connectSearch } from "../../src/search/client.ts";
import { ensureIndex } from "../../src/search/index.ts";
import { indexFaults } from "../../src/search/index_state.ts";
import { SEARCH_DEFAULTS, type SearchLogin, type SearchOptions } from "../../src/search/options.ts";
import { Semaphore } from "../../src/search/semaphore.ts";
import { bulk, META, NEVER } from "../search/setup.ts";
import { makeAuthority } from "../support/certificates.ts";
import { type PgsyncHome, pgsyncHome } from "../support/pgsync_process.ts";
import { ownPostgres } from "../support/postgres.ts";
import { securedElasticsearch } from "../support/secured_elasticsearch.ts";

const authority = makeAuthority("search");
/** Of the same name, with another key. */
const stranger = makeAuthority("search");
const client = authority.sign("pgsync");

/** As docs/security.md has it. */
const ROLE = {
  cluster: ["monitor"],
  indices: [{ names: ["shop*"], privileges: ["read", "write", "manage"] }],
};
const admin = { name: "admin", password: "admin-secret", role: "superuser" };
const writer = { name: "pgsync", password: "writer-secret:ä", role: "pgsync" };
const server = await securedElasticsearch({
  authority,
  client,
  users: [admin, writer],
  roles: { pgsync: ROLE },
});
const basic: SearchLogin = { kind: "basic", user: writer.name, password: writer.password };

const TRUSTED: SearchOptions = {
  ...SEARCH_DEFAULTS,
  urls: [server.url],
  login: basic,
  caCertificate: authority.certificateFile,
  clientCertificate: client.certificateFile,
  clientKey: client.keyFile,
  timeoutSeconds: 20,
};

async function connects(changes: Partial<SearchOptions>): Promise<void> {
  const connected = await connectSearch({ ...TRUSTED, ...changes });
  try {
    await connected.ping();
  } finally {
    await connected.close();
  }
}

/** The text of a field of an answer. */
async function asked(method: string, path: string, body: unknown, ...fields: string[]): Promise<string[]> {
  const answer = await server.request(method, path, body);
  assert.ok(answer.status < 300, JSON.stringify(answer));
  return fields.map((field) => String(Reflect.get(Object(answer.body), field)));
}

describe("A login", () => {
  let apiKey = "";
  let token = "";
  before(async () => {
    [apiKey = ""] = await asked("POST", "/_security/api_key", {
      name: "pgsync",
      role_descriptors: { pgsync: ROLE },
    }, "encoded");
    [token = ""] = await asked("POST", "/_security/oauth2/token", {
      grant_type: "password",
      username: writer.name,
      password: writer.password,
    }, "access_token");
  });
  const logins: readonly (readonly [string, () => SearchLogin])[] = [
    ["basic", () => basic],
    ["api-key", () => ({ kind: "api-key", key: apiKey })],
    ["bearer", () => ({ kind: "bearer", token })],
  ];
  for (const [name, login] of logins) {
    it(`by ${name}, with no more than the privileges of the manual, makes an index and writes documents`, async () => {
      const options = { ...TRUSTED, login: login() };
      const connected = await connectSearch(options);
      const alias = `shop-${name}`;
      try {
        const { generation } = await ensureIndex(connected, {
          alias,
          mapping: {},
          settings: null,
          meta: META,
        });
        const sender = new BulkWriter({
          client: connected,
          generation,
          semaphore: new Semaphore(1),
          onRetry: assert.fail,
        });
        const outcome = await sender.send(bulk(["1\n2", 1n, { name }], ["3", 1n, { name }]), NEVER);
        assert.ok(!outcome.stale && outcome.indexed === 2);
        const found = await server.request("GET", `/${alias}/_doc/${encodeURIComponent("1\n2")}`);
        assert.equal(found.status, 200, JSON.stringify(found.body));
        await assert.rejects(
          ensureIndex(connected, { alias: "other", mapping: {}, settings: null, meta: META }),
          { code: "SEARCH_LOGIN" },
          "of other indices it may make none",
        );
      } finally {
        await connected.close();
      }
    });
  }

  it("with the privileges of the manual is told whether its indices take documents, and nothing of others", async () => {
    const connected = await connectSearch(TRUSTED);
    const told = async (...names: string[]) =>
      [...(await indexFaults(connected, names, NEVER, 10)).values()].map((fault) => fault?.code ?? null);
    try {
      await asked("PUT", "/shop-state", {});
      await asked("PUT", "/others-state", {});
      assert.deepEqual(await told("shop-state"), [null]);
      await asked("POST", "/shop-state/_close", undefined);
      assert.deepEqual(await told("shop-state"), ["SEARCH_UNAVAILABLE"]);
      assert.deepEqual(await told("shop-gone", "shop-state"), ["INDEX_MISSING", "SEARCH_UNAVAILABLE"]);
      assert.deepEqual(await told("others-state"), []);
      assert.deepEqual(await told("others-gone"), []);
    } finally {
      await connected.close();
    }
  });

  it("that is wrong, or none at all, is refused, and is in no message", async () => {
    const wrong: readonly SearchLogin[] = [
      { kind: "none" },
      { kind: "basic", user: writer.name, password: "wrong-secret" },
      { kind: "api-key", key: Buffer.from("id:wrong-secret").toString("base64") },
      { kind: "bearer", token: "wrong-secret" },
    ];
    for (const login of wrong) {
      await assert.rejects(connects({ login }), (error: Error & { code?: string }) => {
        assert.equal(error.code, "SEARCH_LOGIN");
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
  });

  it("that is taken back is refused from then on", async () => {
    const [id = "", encoded = ""] = await asked(
      "POST",
      "/_security/api_key",
      { name: "short" },
      "id",
      "encoded",
    );
    const connected = await connectSearch({ ...TRUSTED, login: { kind: "api-key", key: encoded } });
    try {
      await connected.ping();
      await asked("DELETE", "/_security/api_key", { ids: [id] }, "invalidated_api_keys");
      await assert.rejects(connected.ping(), { code: "SEARCH_LOGIN" });
    } finally {
      await connected.close();
    }
  });
});

describe("TLS", () => {
  const refused = { code: "SEARCH_UNREACHABLE" };

  it("demands a certificate of the client that the server's authority signed", async () => {
    await connects({});
    await assert.rejects(connects({ clientCertificate: null, clientKey: null }), refused);
    const forged = stranger.sign("pgsync");
    await assert.rejects(
      connects({ clientCertificate: forged.certificateFile, clientKey: forged.keyFile }),
      refused,
    );
  });

  it("trusts the authority that is named, and no other", async () => {
    await assert.rejects(connects({ caCertificate: null }), refused);
    await assert.rejects(connects({ caCertificate: stranger.certificateFile }), refused);
    await connects({ caCertificate: null, verifyCertificates: false });
  });

  it("checks the server's name", async () => {
    const byAddress = { urls: [server.url.replace("localhost", "127.0.0.1")] };
    await assert.rejects(connects(byAddress), refused);
    await connects({ ...byAddress, verifyCertificates: false });
  });

  it("trusts the authority of a fingerprint, under any name", async () => {
    const pinned = { caCertificate: null, caFingerprint: authority.fingerprint };
    await connects(pinned);
    await connects({ ...pinned, caFingerprint: authority.fingerprint.replaceAll(":", "").toLowerCase() });
    await connects({ ...pinned, urls: [server.url.replace("localhost", "127.0.0.1")] });
    await connects({ ...pinned, urls: ["https://localhost:1", server.url] });
    await assert.rejects(connects({ ...pinned, caFingerprint: stranger.fingerprint }), refused);
    await assert.rejects(
      connects({ ...pinned, caFingerprint: stranger.fingerprint, verifyCertificates: false }),
      refused,
    );
  });
});

// It names the authority as its issuer and shows the true one's certificate beside it; only the signature is wrong.
const forged = stranger.sign("search", "DNS:localhost,IP:127.0.0.1");
let impostorHeard = "";
const impostor = createServer(
  { key: forged.key, cert: forged.certificate + authority.certificate },
  (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => (impostorHeard += bytes.toString("latin1")));
  },
);
impostor.on("tlsClientError", () => {});
await new Promise<void>((resolve) => impostor.listen(0, "127.0.0.1", resolve));
after(() => impostor.close());
const impostorAddress = impostor.address();
assert.ok(typeof impostorAddress === "object" && impostorAddress !== null);
const impostorUrl = `https://localhost:${impostorAddress.port}`;

describe("A forged certificate", () => {
  it("is not taken for the authority's, whose fingerprint is pinned or which is named; the login is not sent", async () => {
    for (const changes of [{ caCertificate: null, caFingerprint: authority.fingerprint }, {}]) {
      await assert.rejects(connects({ ...changes, urls: [impostorUrl], timeoutSeconds: 3 }), {
        code: "SEARCH_UNREACHABLE",
      });
    }
    assert.equal(impostorHeard, "");
  });
});

const folder = temporaryFolder("tls");
after(() => removeFolder(folder));
let executable: Promise<string> | undefined;
/** The executable, built once. */
function built(): Promise<string> {
  return executable ??= build({ outfile: join(folder, "pgsync") });
}

/** A PostgreSQL that lets its user in by TLS alone. */
async function securedPostgres(): Promise<string> {
  // Its user must be able to read here.
  chmodSync(folder, 0o755);
  const certificate = authority.sign("database", "DNS:localhost");
  writeFileSync(join(folder, "server.crt"), certificate.certificate);
  writeFileSync(join(folder, "server.key"), certificate.key, { mode: 0o600 });
  // The server refuses to run as root, and a key that is not its own.
  if (process.getuid?.() === 0) chownSync(join(folder, "server.key"), SERVER_USER.uid, SERVER_USER.gid);
  const postgresServer = await ownPostgres({
    settings: {
      ssl: "on",
      ssl_cert_file: join(folder, "server.crt"),
      ssl_key_file: join(folder, "server.key"),
    },
  });
  const sql = postgres(postgresServer.url, { max: 1, onnotice: () => {} });
  try {
    await sql`CREATE TABLE planet (id int PRIMARY KEY, name text)`;
    await sql`INSERT INTO planet SELECT g, 'planet ' || g FROM generate_series(1, 9) AS g`;
    await sql`CREATE ROLE by_tls SUPERUSER LOGIN PASSWORD 'tls-secret'`;
    writeFileSync(
      join(postgresServer.dataDirectory, "pg_hba.conf"),
      "hostssl all by_tls all scram-sha-256\nhost all postgres all trust\n",
    );
    await sql`SELECT pg_reload_conf()`;
  } finally {
    await sql.end({ timeout: 1 });
  }
  return `postgresql://by_tls:tls-secret@localhost:${postgresServer.port}/postgres`;
}

const postgresUrl = await securedPostgres();

for (const name of ["Deno", "the executable"]) {
  describe(`pgsync, run by ${name}, with servers that demand TLS and a login`, () => {
    let home: PgsyncHome;
    const index = name === "Deno" ? "shop-deno" : "shop-executable";
    /** All that is demanded. */
    const env = {
      PG_SSLMODE: "verify-full",
      PG_SSLROOTCERT: authority.certificateFile,
      ELASTICSEARCH_SSL_ASSERT_FINGERPRINT: authority.fingerprint,
      ELASTICSEARCH_CLIENT_CERT: client.certificateFile,
      ELASTICSEARCH_CLIENT_KEY: client.keyFile,
      ELASTICSEARCH_BASIC_AUTH: `${writer.name}:${writer.password}`,
    };
    before(async () => {
      const options = {
        schema: [{ database: "postgres", index, nodes: { table: "planet" } }],
        postgresUrl,
        searchUrl: server.url,
      };
      const executable = name === "Deno" ? {} : { executable: await built() };
      home = pgsyncHome({ ...options, ...executable });
    });

    it("loads the documents, by fingerprint and by authority", async () => {
      const loaded = await home.run(["--bootstrap"], { env });
      assert.equal(loaded.code, 0, loaded.stderr);
      await server.request("POST", `/${index}/_refresh`);
      const { body } = await server.request("GET", `/${index}/_count`);
      assert.equal(Reflect.get(Object(body), "count"), 9);
      const { ELASTICSEARCH_SSL_ASSERT_FINGERPRINT: _, ...others } = env;
      const again = await home.run([], {
        env: { ...others, ELASTICSEARCH_CA_CERTS: authority.certificateFile },
      });
      assert.equal(again.code, 0, again.stderr);
    });

    const refusals: Readonly<Record<string, readonly [code: string, changes: () => Record<string, string>]>> =
      {
        "a PostgreSQL of another authority": [
          "POSTGRES_LOGIN",
          () => ({ PG_SSLROOTCERT: stranger.certificateFile }),
        ],
        "a PostgreSQL of another name": [
          "POSTGRES_LOGIN",
          () => ({ PG_URL: postgresUrl.replace("localhost", "127.0.0.1") }),
        ],
        "a PostgreSQL without TLS": ["POSTGRES_LOGIN", () => ({ PG_SSLMODE: "disable" })],
        "a search engine of another fingerprint": [
          "SEARCH_UNREACHABLE",
          () => ({ ELASTICSEARCH_SSL_ASSERT_FINGERPRINT: stranger.fingerprint }),
        ],
        "a search engine of another authority": [
          "SEARCH_UNREACHABLE",
          () => ({
            ELASTICSEARCH_SSL_ASSERT_FINGERPRINT: "",
            ELASTICSEARCH_CA_CERTS: stranger.certificateFile,
          }),
        ],
        "a forged certificate": ["SEARCH_UNREACHABLE", () => ({ ELASTICSEARCH_URL: impostorUrl })],
        "no certificate of its own": [
          "SEARCH_UNREACHABLE",
          () => ({ ELASTICSEARCH_CLIENT_CERT: "", ELASTICSEARCH_CLIENT_KEY: "" }),
        ],
      };
    for (const [what, [code, changes]] of Object.entries(refusals)) {
      it(`refuses ${what}`, async () => {
        const ended = await home.run([], { env: { ...env, ...changes() } });
        assert.equal(ended.code, 3, ended.stderr);
        assert.match(ended.stderr, new RegExp(`error ${code}: `));
        assert.equal(impostorHeard, "");
      });
    }
  });
}
