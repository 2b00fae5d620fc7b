/** libpq's sslmode values (https://www.postgresql.org/docs/current/libpq-ssl.html). */
export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

/** How to reach one PostgreSQL server. The database is named by each document of the schema file. */
export interface PostgresOptions {
  /** Host name, address, or the folder of a Unix socket. */
  readonly host: string;
  /** The TCP port; of a Unix socket, its number. */
  readonly port: number;
  /** The role to log in as. */
  readonly user: string;
  /** Null: none is sent. */
  readonly password: string | null;
  /** Whether and how TLS is used. */
  readonly sslmode: SslMode;
  /** Path of a PEM file with the certificate authorities to trust. */
  readonly sslrootcert: string | null;
  /** Session time zone; it decides how timestamptz is printed in documents. */
  readonly timeZone: string;
  /** `work_mem` of building sessions, as `64MB`; null leaves the server's. */
  readonly workMem: string | null;
}

/** A server on this machine; user and password are to be given. */
export const POSTGRES_DEFAULTS = {
  host: "localhost",
  port: 5432,
  password: null,
  sslmode: "prefer",
  sslrootcert: null,
  timeZone: "UTC",
  workMem: null,
} as const satisfies Partial<PostgresOptions>;
