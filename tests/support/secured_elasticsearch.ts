/** A real Elasticsearch that demands what production demands: TLS, a certificate of the client, and a login. */
import { execFileSync } from "node:child_process";
import { Buffer } from "node:buffer";
import { pbkdf2Sync, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  DEFAULT_VERSION,
  installedElasticsearch,
  javaOfElasticsearch,
} from "../../scripts/servers/elasticsearch.ts";
import { temporaryFolder } from "../../scripts/servers/process.ts";
import type { Authority, Certificate } from "./certificates.ts";
import { type Answer, ownElasticsearch } from "./elasticsearch.ts";

/** A user of the server's own file, with the name of a role. */
export interface SearchUser {
  readonly name: string;
  readonly password: string;
  readonly role: string;
}

/** What the server is to demand. */
export interface SecuredOptions {
  readonly authority: Authority;
  /** The certificate that the helper itself shows. */
  readonly client: Certificate;
  /** The first of them is the one as whom the helper asks. */
  readonly users: readonly [SearchUser, ...SearchUser[]];
  /** Roles beside those that are built in, as roles.yml has them (JSON will do). */
  readonly roles?: unknown;
}

/** A running server. */
export interface SecuredElasticsearch {
  /** https, without a login. */
  readonly url: string;
  /** Sends a request as the first user, with a JSON body if one is given. Never throws for a status. */
  request(method: string, path: string, body?: unknown): Promise<Answer>;
}

/** Starts it: `client_authentication: required`, API keys and tokens (by the trial licence). It is stopped at the end of the test file. */
export async function securedElasticsearch(options: SecuredOptions): Promise<SecuredElasticsearch> {
  const { authority, client, users, roles = {} } = options;
  const server = authority.sign("search", "DNS:localhost");
  const ask = (port: number, method: string, path: string, body?: unknown) =>
    send(port, method, path, body, { authority, client, user: users[0] });
  const { url } = await ownElasticsearch({
    home: await homeWithShim(),
    settings: {
      "xpack.security.enabled": "true",
      "xpack.security.autoconfiguration.enabled": "false",
      "xpack.security.http.ssl.enabled": "true",
      "xpack.security.http.ssl.key": "http.key",
      "xpack.security.http.ssl.certificate": "http.crt",
      "xpack.security.http.ssl.certificate_authorities": "ca.crt",
      "xpack.security.http.ssl.client_authentication": "required",
      "xpack.security.authc.token.enabled": "true",
      "xpack.security.authc.api_key.enabled": "true",
      "xpack.license.self_generated.type": "trial",
    },
    files: {
      "http.key": server.key,
      // With its authority, as a fingerprint of that one is looked for in what the server shows.
      "http.crt": server.certificate + authority.certificate,
      "ca.crt": authority.certificate,
      "users": users.map(({ name, password }) => `${name}:${passwordHash(password)}\n`).join(""),
      "users_roles": users.map(({ name, role }) => `${role}:${name}\n`).join(""),
      "roles.yml": JSON.stringify(roles),
    },
    ready: async (port) => {
      try {
        return (await ask(port, "GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")).status === 200;
      } catch {
        // Not listening yet; the starter bounds the wait.
        return false;
      }
    },
  });
  const { port } = new URL(url);
  return {
    url: `https://localhost:${port}`,
    request: (method, path, body) => ask(Number(port), method, path, body),
  };
}

/** As `elasticsearch-users` writes it (https://www.elastic.co/guide/en/elasticsearch/reference/8.19/security-settings.html#hashing-settings). */
function passwordHash(password: string): string {
  const salt = randomBytes(32);
  const hash = pbkdf2Sync(password, salt, 1000, 32, "sha512");
  return `{PBKDF2}1000$${salt.toString("base64")}$${hash.toString("base64")}`;
}

interface Asker {
  readonly authority: Authority;
  readonly client: Certificate;
  readonly user: SearchUser;
}

function send(
  port: number,
  method: string,
  path: string,
  body: unknown,
  { authority, client, user }: Asker,
): Promise<Answer> {
  const text = body === undefined ? "" : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const asked = httpsRequest({
      host: "localhost",
      port,
      method,
      path,
      auth: `${user.name}:${user.password}`,
      // Deno sends no body of a DELETE without its length.
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
      ca: authority.certificate,
      cert: client.certificate,
      key: client.key,
      agent: false,
    }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const answer = Buffer.concat(chunks).toString("utf8");
        resolve({ status: response.statusCode ?? 0, body: answer === "" ? null : JSON.parse(answer) });
      });
    });
    asked.on("error", reject);
    asked.end(text);
  });
}

/** A copy of the distribution, by links, with a plugin that makes the index .security possible. */
async function homeWithShim(): Promise<string> {
  const java = javaOfElasticsearch();
  const installed = await installedElasticsearch();
  const folder = temporaryFolder("shim");
  chmodSync(folder, 0o755);
  const home = join(folder, "home");
  execFileSync("cp", ["-a", "--link", installed, home]);
  const classes = join(folder, "classes");
  const plugin = join(home, "plugins", "shim");
  mkdirSync(classes);
  mkdirSync(plugin, { recursive: true });
  const run = (module: string, ...args: string[]) =>
    execFileSync(join(java, "bin", "java"), ["-XX:TieredStopAtLevel=1", "-m", module, ...args], {
      stdio: "pipe",
    });
  const jars = readdirSync(join(installed, "lib")).filter((name) => name.endsWith(".jar"))
    .map((name) => join(installed, "lib", name)).join(delimiter);
  const source = fileURLToPath(new URL("elasticsearch_shim/ShimPlugin.java", import.meta.url));
  run("jdk.compiler/com.sun.tools.javac.Main", "-cp", jars, "-d", classes, source);
  run("jdk.jartool/sun.tools.jar.Main", "cf", join(plugin, "shim.jar"), "-C", classes, ".");
  writeFileSync(
    join(plugin, "plugin-descriptor.properties"),
    [
      ...["description=shim", "version=1", "name=shim", "classname=shim.ShimPlugin"],
      ...["java.version=17", `elasticsearch.version=${DEFAULT_VERSION}`, ""],
    ].join("\n"),
  );
  return home;
}
