/**
 * Real PostgreSQL servers for tests. `deno task test` starts them once and names them in PGSYNC_TEST_POSTGRES_15 and _17; a test file
 * that is run alone starts what it needs and stops it at its end.
 */
import { randomBytes } from "node:crypto";
import { after } from "node:test";
import process from "node:process";
import postgres from "postgres";
import { type PostgresServer, startPostgres } from "../../scripts/servers/postgres.ts";
import { type StandbyOptions, startStandby } from "../../scripts/servers/standby.ts";
import { eventually } from "./eventually.ts";

/** The majors on which the tests run. */
export type TestedMajor = 15 | 17;

/** Something that makes databases. */
export interface DatabaseServer {
  /** Makes an empty database of a unique name. It is dropped with its replication slots at the end of the test file at the latest. */
  createDatabase(): Promise<TestDatabase>;
}

/** A server that tests share: make databases, change no settings. */
export interface SharedPostgres extends DatabaseServer {
  /** Superuser `postgres`, database `postgres`. */
  readonly url: string;
  readonly version: TestedMajor;
}

export interface TestDatabase {
  /** As superuser. */
  readonly url: string;
  readonly name: string;
  /** Ends all its sessions, drops its replication slots, and the database. Does nothing the second time. */
  drop(): Promise<void>;
}

const shared = new Map<TestedMajor, Promise<SharedPostgres>>();
const started: PostgresServer[] = [];
const databases = new Set<TestDatabase>();

/** The shared server of a major, 17 by default; started by the first call where the environment names none. */
export function usePostgres(major: TestedMajor = 17): Promise<SharedPostgres> {
  let server = shared.get(major);
  if (server === undefined) {
    server = connectOrStart(major);
    shared.set(major, server);
  }
  return server;
}

/**
 * Starts a server of the test's own, to be killed, restarted or set up otherwise ({@link startPostgres} has the options). It is stopped at the end of
 * the test file at the latest.
 */
export async function ownPostgres(
  options: Partial<Parameters<typeof startPostgres>[0]> = {},
): Promise<PostgresServer> {
  const server = await startPostgres({ major: 17, ...options });
  started.push(server);
  return server;
}

/** Makes databases on a server of the test's own. */
export function databasesOf(server: Pick<PostgresServer, "url">): DatabaseServer {
  return { createDatabase: () => createDatabase(server.url) };
}

/** The same server, addressed by way of a proxy. */
export function throughProxy(url: string, proxy: { readonly url: string }): string {
  const changed = new URL(url);
  changed.port = new URL(proxy.url).port;
  return changed.href;
}

/** Starts a hot standby of a server of the test's own. It is stopped at the end of the test file at the latest. */
export async function ownStandby(
  primary: PostgresServer,
  options: StandbyOptions = {},
): Promise<PostgresServer> {
  const server = await startStandby(primary, options);
  // Before its primary, which would wait for it to take the last of the WAL.
  started.unshift(server);
  return server;
}

/** The same server, addressed by another database, user or password. */
export function withDatabase(url: string, database: string, user?: string, password?: string): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(database)}`;
  if (user !== undefined) changed.username = encodeURIComponent(user);
  if (password !== undefined) changed.password = encodeURIComponent(password);
  return changed.href;
}

async function connectOrStart(major: TestedMajor): Promise<SharedPostgres> {
  const url = process.env[`PGSYNC_TEST_POSTGRES_${major}`] || (await ownPostgres({ major })).url;
  return { url, version: major, createDatabase: () => createDatabase(url) };
}

async function createDatabase(url: string): Promise<TestDatabase> {
  const name = `test_${process.pid}_${randomBytes(5).toString("hex")}`;
  await withSession(url, (sql) => sql`CREATE DATABASE ${sql(name)}`);
  const database: TestDatabase = {
    name,
    url: withDatabase(url, name),
    async drop() {
      if (databases.delete(database)) await dropDatabase(url, name);
    },
  };
  databases.add(database);
  return database;
}

async function dropDatabase(url: string, name: string): Promise<void> {
  await withSession(url, async (sql) => {
    // A slot outlives its walsender by a moment, and its client may reconnect.
    await eventually(async () => {
      await sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = ${name} AND active`;
      await sql`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = ${name}`;
      await sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`;
    }, { what: `database ${name} to be dropped` });
  });
}

async function withSession<T>(url: string, use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await use(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

after(async () => {
  const own = new Set(started.map((server) => new URL(server.url).port));
  for (const database of databases) {
    // What lives on a server that is about to go needs no dropping.
    if (!own.has(new URL(database.url).port)) await database.drop();
  }
  for (const server of started) await server.stop("immediate");
});
