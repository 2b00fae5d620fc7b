/** The servers of a benchmark: as they come, so that nothing is measured but what everybody has. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { type ElasticsearchServer, startElasticsearch } from "../servers/elasticsearch.ts";
import { startPostgres } from "../servers/postgres.ts";
import { beforeTheEnd } from "../servers/process.ts";
import type { ProgressView } from "../servers/progress.ts";
import { Search } from "./search.ts";

/** Heap of Elasticsearch; everything else is its default. */
const HEAP_MB = 2048;

/** The database that is measured, and how it gets its rows. */
export interface BenchDatabase {
  readonly name: string;
  /** @param url of the database, empty as yet */
  readonly fill: (url: string) => Promise<void>;
  /** Settings of the server beside its defaults. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A PostgreSQL with the database and an empty Elasticsearch, both running. */
export interface Servers {
  /** The database. */
  readonly postgresUrl: string;
  readonly sql: postgres.Sql;
  readonly search: Search;
  /** The process behind it. */
  readonly engine: Pick<ElasticsearchServer, "pid" | "halt" | "start">;
  /** Versions, for the report. */
  readonly versions: { readonly postgres: string; readonly elasticsearch: string };
  /** The postmaster. */
  postgresPid(): number;
  readonly searchPid: number;
}

/**
 * Starts PostgreSQL 17 with its defaults (fsync included; only wal_level is logical, and more connections and slots are
 * allowed than by default) and Elasticsearch with its own JVM settings and a heap of 2 GB, and fills the database.
 */
export async function startServers(
  { name, fill, settings = {} }: BenchDatabase,
  view: ProgressView,
): Promise<Servers> {
  const [database, engine] = await Promise.all([
    startPostgres({ major: 17, durable: true, settings, onProgress: view.bytes }),
    startElasticsearch({ benchmark: true, heapMb: HEAP_MB, onProgress: view.bytes }),
  ]);
  const administration = postgres(database.url, { max: 1 });
  await administration`CREATE DATABASE ${administration(name)}`;
  await administration.end();
  const url = new URL(database.url);
  url.pathname = `/${name}`;
  await fill(url.href);
  view.stop();
  const sql = postgres(url.href, { max: 1, onnotice: () => {} });
  beforeTheEnd(() => sql.end({ timeout: 1 }));
  const [row] = await sql<{ server_version: string }[]>`SHOW server_version`;
  return {
    postgresUrl: url.href,
    sql,
    search: new Search(engine.url),
    engine,
    versions: { postgres: row?.server_version ?? "unknown", elasticsearch: engine.version },
    postgresPid: () =>
      Number(readFileSync(join(database.dataDirectory, "postmaster.pid"), "utf8").split("\n")[0]),
    searchPid: engine.pid,
  };
}
