import type { PostgresOptions } from "../../src/postgres/options.ts";

/** The options that reach the server of a `postgres://` URL. */
export function optionsOf(url: string, changes: Partial<PostgresOptions> = {}): PostgresOptions {
  const { hostname, port, username, password } = new URL(url);
  return {
    host: hostname,
    port: Number(port),
    user: decodeURIComponent(username),
    password: password === "" ? null : decodeURIComponent(password),
    sslmode: "prefer",
    sslrootcert: null,
    timeZone: "UTC",
    workMem: null,
    ...changes,
  };
}

/** The name of the database in a `postgres://` URL. */
export function databaseOf(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1));
}
