/** Secrets are given everywhere, everything fails, and whatever pgsync says or keeps is searched for them. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import postgres from "postgres";
import { useElasticsearch } from "../support/elasticsearch.ts";
import { type Ended, pgsyncHome } from "../support/pgsync_process.ts";
import { ownPostgres, withDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";

const SECRETS = {
  postgres: "pg-sécret/@?1",
  replica: "replica-secret-2",
  apiKey: "api-key-secret-3",
  basic: "basic:secret-4",
  token: "status-token-secret-5",
  schema: "schema-secret-6",
  query: "signature-secret-7",
  bearer: "bearer-secret-8",
} as const;
/** Who logs in with a secret; for the form of the Basic header. */
const USERS = ["pgsync", "me", "id"];

/** All that would give a secret away. */
const FORMS: ReadonlyMap<string, string> = new Map(
  Object.entries(SECRETS).flatMap(([name, secret]) =>
    [
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      ...["", ...USERS.map((user) => `${user}:`)].map((before) =>
        Buffer.from(`${before}${secret}`, "utf8").toString("base64").replace(/=+$/, "")
      ),
    ].map((form): [string, string] => [form, name])
  ),
);

function assertSilent(where: string, text: string): void {
  for (const [form, name] of FORMS) {
    assert.ok(
      !text.includes(form),
      `${where} tells the secret "${name}", as ${form}:\n${text.slice(0, 2_000)}`,
    );
  }
}

function assertSilentEnd(what: string, { stdout, stderr }: Ended): void {
  assertSilent(`stdout of ${what}`, stdout);
  assertSilent(`stderr of ${what}`, stderr);
}

const server = await ownPostgres({ password: "superuser" });
const search = await useElasticsearch();
const postgresProxy = await startTcpProxy(server.url);
const searchProxy = await startTcpProxy(search.url);
after(() => Promise.all([postgresProxy.stop(), searchProxy.stop()]));
const admin = postgres(server.url, { max: 1, onnotice: () => {} });
after(() => admin.end({ timeout: 1 }));
const index = search.indexName("secrets");
const schema = [{
  database: "postgres",
  index,
  nodes: { table: "item", transform: { mapping: { n: { type: "byte" } } } },
}];
const postgresUrl = withDatabase(
  `postgresql://127.0.0.1:${new URL(postgresProxy.url).port}/x`,
  "postgres",
  "pgsync",
  SECRETS.postgres,
);
const home = pgsyncHome({ schema, postgresUrl, searchUrl: searchProxy.url });

before(async () => {
  await admin.unsafe(`CREATE ROLE pgsync SUPERUSER LOGIN PASSWORD '${SECRETS.postgres}'`);
  await admin`CREATE TABLE item (id int PRIMARY KEY, n int)`;
  await admin`INSERT INTO item VALUES (1, 1), (2, 1000)`;
});

describe("A run whose servers fail", () => {
  it("tells no secret in its log, by HTTP, or in its checkpoint file", async () => {
    const env = {
      PGSYNC_TOKEN: SECRETS.token,
      ELASTICSEARCH_API_KEY: SECRETS.apiKey,
      ELASTICSEARCH_API_KEY_ID: "id",
      PGSYNC_CATALOG_INTERVAL: "0.2",
    };
    for (const format of ["text", "json"]) {
      const run = await home.start(["--daemon", "--bootstrap", "--verbose", "--log-format", format], { env });
      await run.ready();
      const [, url = ""] = await run.logged(/status at (http:[\w.:/]+)/);
      const seen = await pages(url);
      await searchProxy.shut();
      await admin`UPDATE item SET n = n + 1`;
      await run.logged(/SEARCH_UNREACHABLE/);
      seen.push(...await pages(url));
      await searchProxy.open();
      await admin`ALTER ROLE pgsync PASSWORD 'another'`;
      postgresProxy.cut();
      await run.logged(/POSTGRES_LOGIN/);
      seen.push(...await pages(url));
      await postgresProxy.shut();
      for (const name of readdirSync(home.folder)) {
        seen.push(
          readFileSync(join(home.folder, name), "latin1"),
          readFileSync(join(home.folder, name), "utf8"),
        );
      }
      assertSilentEnd(`the run with ${format}`, await run.end("SIGTERM"));
      for (const text of seen) assertSilent("the run", text);
      await postgresProxy.open();
      await admin.unsafe(`ALTER ROLE pgsync PASSWORD '${SECRETS.postgres}'`);
    }
  });

  /** All that the status server shows, to whom it may and to whom it may not. */
  async function pages(url: string): Promise<string[]> {
    const texts: string[] = [];
    for (const path of ["/", "/status", "/metrics", "/ready", "/health", "/dead-letters", "/nothing"]) {
      for (const headers of [{}, { authorization: `Bearer ${SECRETS.token}` }]) {
        const response = await fetch(new URL(path, url), { headers });
        texts.push(`${JSON.stringify([...response.headers])}\n${await response.text()}`);
      }
    }
    return texts;
  }
});

describe("A command that fails", () => {
  const web = createServer(({ url, headers }, response) => {
    if (url?.startsWith("/elsewhere") !== true) return void response.writeHead(403).end();
    // It speaks no TLS.
    const location = `https://${headers.host}/s.json?X-Amz-Signature=${SECRETS.query}`;
    response.writeHead(302, { location }).end();
  });
  let schemaUrl = "";
  before(async () => {
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    const address = web.address();
    assert.ok(typeof address === "object" && address !== null);
    schemaUrl =
      `http://me:${SECRETS.schema}@127.0.0.1:${address.port}/s.json?X-Amz-Signature=${SECRETS.query}`;
  });
  after(() => web.close());

  const nobody = `postgresql://pgsync:${SECRETS.postgres}@127.0.0.1:1/x`;
  const cases: Readonly<Record<string, () => Record<string, string>>> = {
    "a server that is not there": () => ({ PG_URL: encodeURI(nobody) }),
    "a password that is not encoded": () => ({ PG_URL: nobody }),
    "a wrong password": () => ({
      PG_PASSWORD: SECRETS.replica,
      PG_URL: "",
      PG_USER: "pgsync",
      PG_HOST: "127.0.0.1",
      PG_PORT: String(server.port),
    }),
    "TLS that is not there": () => ({ PG_SSLMODE: "verify-full" }),
    "a port that is none": () => ({ PG_URL: `postgresql://me:${SECRETS.replica}@h:port/x` }),
    "a search engine that is not there": () => ({
      ELASTICSEARCH_URL: `http://me:${encodeURIComponent(SECRETS.basic)}@127.0.0.1:1`,
    }),
    "a search engine that speaks no TLS": () => ({
      ELASTICSEARCH_URL: search.url.replace("http:", "https:"),
      ELASTICSEARCH_BASIC_AUTH: `me:${SECRETS.basic}`,
    }),
    "a search engine's URL that is none": () => ({ ELASTICSEARCH_URL: `http://me:${SECRETS.apiKey}/@h` }),
    "two logins": () => ({
      ELASTICSEARCH_BEARER_AUTH: SECRETS.bearer,
      ELASTICSEARCH_API_KEY: SECRETS.apiKey,
    }),
    "a token that no header can hold": () => ({ ELASTICSEARCH_BEARER_AUTH: `${SECRETS.bearer}\n` }),
    "a schema that is forbidden": () => ({ SCHEMA: "", SCHEMA_URL: schemaUrl }),
    "a schema's URL that is none": () => ({
      SCHEMA: "",
      SCHEMA_URL: `http://me:${SECRETS.schema}@h:99999/?s=${SECRETS.query}`,
    }),
    "a schema where nobody answers": () => ({ SCHEMA: "", SCHEMA_URL: schemaUrl.replace(/:\d+\//, ":1/") }),
    "a schema that is elsewhere, where TLS is not there": () => ({
      SCHEMA: "",
      SCHEMA_URL: schemaUrl.replace("/s.json", "/elsewhere"),
    }),
    "a short token": () => ({ PGSYNC_TOKEN: SECRETS.token.slice(-9) }),
  };
  for (const [what, env] of Object.entries(cases)) {
    it(`by ${what}, tells no secret, with --verbose neither`, async () => {
      const failed = await home.run(["--verbose"], { env: env() });
      assert.ok([2, 3].includes(failed.code ?? 0), `exit code ${failed.code}:\n${failed.stderr}`);
      assertSilentEnd(what, failed);
      assert.ok(!failed.stderr.includes(SECRETS.token.slice(-9)));
    });
  }

  it("by a replica that is not there, and is waited for, tells no secret", async () => {
    const PG_URL_RO = `postgresql://me:${SECRETS.replica}@127.0.0.1:1/x`;
    const run = await home.start(["--verbose"], { env: { PG_URL_RO } });
    await run.logged(/the replica is not there yet/);
    assertSilentEnd("a replica that is not there", await run.end("SIGTERM"));
  });

  it("by a file of variables that is broken, tells nothing of it", async () => {
    const file = join(home.folder, "broken.env");
    writeFileSync(file, `PG_PASSWORD="${SECRETS.postgres}\nPG_PORT=none\n`);
    assertSilentEnd("a broken file", await home.run(["--verbose", "--env-file", file]));
  });
});
