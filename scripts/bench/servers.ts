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
  readonly versions: Versions;
  /** The postmaster. */
  postgresPid(): number;
  readonly searchPid: number;
}

export interface Versions {
  readonly postgres: string;
  readonly elasticsearch: string;
}

/** A PostgreSQL without databases and an empty Elasticsearch, both running. */
export interface EmptyServers {
  readonly versions: Versions;
  /** Makes a database and fills it. */
  database(database: Omit<BenchDatabase, "settings">): Promise<Servers>;
  /** Drops a database, which nobody may use any more. */
  drop(servers: Servers): Promise<void>;
}

/** As {@link startEmptyServers}, with one database. */
export async function startServers(database: BenchDatabase, view: ProgressView): Promise<Servers> {
  const empty = await startEmptyServers(database.settings ?? {}, view);
  const servers = await empty.database(database);
  view.stop();
  return servers;
}

/**
 * Starts PostgreSQL 17 with its defaults (fsync included; only wal_level is logical, and more connections and slots are
 * allowed than by default) and Elasticsearch with its own JVM settings and a heap of 2 GB.
 *
 * @param settings of PostgreSQL, beside its defaults
 */
export async function startEmptyServers(
  settings: Readonly<Record<string, string>>,
  view: ProgressView,
): Promise<EmptyServers> {
  const [database, engine] = await Promise.all([
    startPostgres({ major: 17, durable: true, settings, onProgress: view.bytes }),
    startElasticsearch({ benchmark: true, heapMb: HEAP_MB, onProgress: view.bytes }),
  ]);
  view.stop();
  const administration = postgres(database.url, { max: 1, onnotice: () => {} });
  beforeTheEnd(() => administration.end({ timeout: 1 }));
  const [row] = await administration<{ server_version: string }[]>`SHOW server_version`;
  const versions = { postgres: row?.server_version ?? "unknown", elasticsearch: engine.version };
  return {
    versions,
    async database({ name, fill }) {
      await administration`CREATE DATABASE ${administration(name)}`;
      const url = new URL(database.url);
      url.pathname = `/${name}`;
      await fill(url.href);
      const sql = postgres(url.href, { max: 1, onnotice: () => {} });
      beforeTheEnd(() => sql.end({ timeout: 1 }));
      return {
        postgresUrl: url.href,
        sql,
        search: new Search(engine.url),
        engine,
        versions,
        postgresPid: () =>
          Number(readFileSync(join(database.dataDirectory, "postmaster.pid"), "utf8").split("\n")[0]),
        searchPid: engine.pid,
      };
    },
    async drop({ sql, postgresUrl }) {
      await sql.end({ timeout: 5 });
      await administration`DROP DATABASE ${administration(new URL(postgresUrl).pathname.slice(1))}`;
    },
  };
}
