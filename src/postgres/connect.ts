import { getLogger } from "@logtape/logtape";
import postgres from "postgres";
import { PgsyncError } from "../errors/error.ts";
import { PostgresJsSocket } from "./adapter.ts";
import type { PostgresErrorContext } from "./errors.ts";
import type { PostgresOptions } from "./options.ts";
import { withSafeSessions } from "./session.ts";
import { gateOf, type LoginGate } from "./login_gate.ts";
import type { Admission } from "./server_identity.ts";
import { SocketOpener } from "./socket.ts";

/** A pool of connections (postgres.js). */
export type Sql = postgres.Sql;

/** What the connections are for. */
export interface ConnectPurpose {
  readonly database: string;
  /** Shown in pg_stat_activity as `pgsync <purpose>`. */
  readonly purpose: string;
  /** How many connections at most; they are opened when needed. */
  readonly max: number;
  /**
   * - `builder`: reads documents. Read-only, and every value goes in and comes out as PostgreSQL's own text.
   * - `admin`: catalogs, slots, publications. Numbers, booleans and JSON are JavaScript values; bigint and numeric stay text.
   * - `replication`: one walsender session, commands through `sql.unsafe` only.
   */
  readonly kind: "builder" | "admin" | "replication";
  /** `lock_timeout` of the kind `builder`; none where it is left out. */
  readonly lockTimeout?: string;
  /** Others wait for what its sessions hold: the server is to notice within a minute that our machine is gone (for a walsender it does so by itself). */
  readonly isMissed?: boolean;
  /** Judges each server that a connection comes to; left out: any may be used. */
  readonly admit?: Admission;
  /** Called when a connection of the pool has closed, for whatever reason. */
  readonly onClose?: () => void;
}

const logger = getLogger(["pgsync", "postgres"]);

/** How long DDL and catalog reads wait for a lock: queued DDL would hold up everybody behind it. */
const ADMIN_LOCK_TIMEOUT = "10s";
/** From the first byte sent to the first ReadyForQuery, in seconds. */
const LOGIN_TIMEOUT_SECONDS = 30;
/**
 * postgres.js puts off the sending of short messages, and may forget to send any when a connection was lost at the wrong moment; but
 * one of 1,024 bytes it sends at once. So the startup message is made that long: the server takes these options for none.
 */
const STARTUP_PADDING = " ".repeat(1024);

/**
 * Opens a pool. Nothing is connected before the first statement; end it with `sql.end({ timeout: 1 })`.
 *
 * All sessions have fixed settings, whatever the role's or the database's own are, so that values print the same
 * everywhere: see `sessionSettings`. Errors of statements are those of postgres.js; `postgresError` makes
 * them ours. `sql.cancel` is safe, yet for COPY use `copyOut`. Never use `sql("name")` for identifiers (it splits at dots):
 * use `quoteIdentifier` and `sql.unsafe`.
 */
export function connectPostgres(options: PostgresOptions, purpose: ConnectPurpose): Sql {
  const opener = new SocketOpener(options, purpose.database);
  const gate = gateOf(options);
  const closes = new EventTarget();
  // Every option is given, for postgres.js reads what is absent from the environment (PGPASSWORD, PGMAX, PGSSL …).
  const settings = {
    host: options.host,
    port: options.port,
    database: purpose.database,
    user: options.user,
    // A function, because an empty text would send postgres.js to PGPASSWORD.
    pass: () => options.password ?? "",
    max: purpose.max,
    // TLS is done by our own sockets.
    ssl: false,
    sslnegotiation: null,
    socket: () => openForPostgresJs(opener, options, purpose, gate),
    connect_timeout: LOGIN_TIMEOUT_SECONDS,
    idle_timeout: 0,
    max_lifetime: null,
    keep_alive: 60,
    max_pipeline: 100,
    // Waiting between attempts is the caller's, by class of error.
    backoff: () => 0,
    prepare: purpose.kind !== "replication",
    debug: false,
    // Saves a round trip at login; arrays are passed as text (`arrayLiteral`).
    fetch_types: false,
    publications: "",
    onclose: () => {
      closes.dispatchEvent(new Event("close"));
      purpose.onClose?.();
    },
    onnotice: (notice: postgres.Notice) => logger.debug("{severity}: {message}", { ...notice }),
    types: purpose.kind === "builder" ? textTypes : {},
    connection: { ...sessionSettings(options, purpose), options: STARTUP_PADDING },
  };
  const sql = withSafeSessions(postgres(settings), closes);
  contexts.set(sql, { options, database: purpose.database });
  return sql;
}

/** The database of each connection that is open, by what its server is reached by. */
const connections = new WeakMap<PostgresOptions, Map<PostgresJsSocket, string>>();

/**
 * Cuts all connections that were opened with these options to a database, the stream's included, as a network that fails would: what
 * waits on them fails with ETIMEDOUT, and the next statement opens new ones.
 */
export function cutConnections(options: PostgresOptions, database: string): void {
  for (const [socket, to] of [...connections.get(options) ?? []]) {
    if (to !== database) continue;
    socket.destroy(Object.assign(new Error("the server was silent"), { code: "ETIMEDOUT" }));
  }
}

const contexts = new WeakMap<Sql, PostgresErrorContext>();

/**
 * What `postgresError` needs to say of a pool's errors where they came from.
 *
 * @throws PgsyncError INTERNAL where the pool was not opened by `connectPostgres`
 */
export function errorContext(sql: Sql, doing?: string): PostgresErrorContext {
  const context = contexts.get(sql);
  if (context === undefined) throw new PgsyncError("INTERNAL", "A pool of unknown origin was used.");
  return doing === undefined ? context : { ...context, doing };
}

/**
 * The settings of a session, sent in the startup message, so that they cost no round trip and beat the role's own.
 *
 * `search_path` is set to an empty name (`""`, what `SET search_path = ''` stores): only pg_catalog is searched, so a
 * planted function cannot be called by mistake. postgres.js would leave out an empty text.
 */
function sessionSettings(
  options: PostgresOptions,
  purpose: ConnectPurpose,
): Record<string, string> {
  const application_name = `pgsync ${purpose.purpose}`;
  if (purpose.kind === "replication") {
    // The walsender calls the types' output functions, so the settings that decide how values print matter here too.
    // Nor is it without limits: a statement_timeout of the database's ends START_REPLICATION.
    return {
      application_name,
      replication: "database",
      search_path: '""',
      lock_timeout: "0",
      ...UNLIMITED,
      ...printing(options),
    };
  }
  const shared = {
    application_name,
    search_path: '""',
    ...UNLIMITED,
    ...printing(options),
  };
  if (purpose.kind === "admin") {
    return {
      ...shared,
      lock_timeout: ADMIN_LOCK_TIMEOUT,
      default_transaction_read_only: "off",
      ...(purpose.isMissed === true ? MISSED_SOON : {}),
    };
  }
  return {
    ...shared,
    // A reader waits behind DDL as long as it takes: the stream waits too, and nothing is lost.
    lock_timeout: purpose.lockTimeout ?? "0",
    // Compilation costs 0.3 s for a statement that runs for milliseconds.
    jit: "off",
    // Rows that a policy hides would look deleted: an error instead.
    row_security: "off",
    // All that it commits are logical messages, which need no synchronous standby: one that is away would hold up the
    // start of a run. They must be flushed, or they would not be streamed.
    synchronous_commit: "local",
    default_transaction_read_only: "on",
    // A cursor is declared only for what is read to its end.
    cursor_tuple_fraction: "1",
    ...(options.workMem === null ? {} : { work_mem: options.workMem }),
  };
}

/** What no session of ours may have from its role or database. */
const UNLIMITED = {
  statement_timeout: "0",
  idle_in_transaction_session_timeout: "0",
  // A hot standby refuses serializable.
  default_transaction_isolation: "read committed",
};

/** The server's operating system asks after 20 s of silence whether we are there, and gives us up 30 s later; by its own settings it takes two hours. */
const MISSED_SOON = {
  tcp_keepalives_idle: "20",
  tcp_keepalives_interval: "10",
  tcp_keepalives_count: "3",
};

/** What decides how values become text (https://www.postgresql.org/docs/current/runtime-config-client.html). */
function printing(options: PostgresOptions): Record<string, string> {
  return {
    client_encoding: "UTF8",
    TimeZone: options.timeZone,
    DateStyle: "ISO",
    IntervalStyle: "postgres",
    extra_float_digits: "1",
    bytea_output: "hex",
    // regclass and its like print names.
    quote_all_identifiers: "off",
  };
}

/**
 * Types that postgres.js would turn into JavaScript values, losing digits of numbers and microseconds of timestamps on the way:
 * bool, bytea, int8, int2, int4, oid, json, float4, float8, date, timestamp, timestamptz, jsonb.
 */
const textTypes = {
  text: {
    to: 25,
    from: [16, 17, 20, 21, 23, 26, 114, 700, 701, 1082, 1114, 1184, 3802],
    serialize: parameterText,
    parse: (text: string) => text,
  },
};

/** A parameter as PostgreSQL's input functions read it; text goes through untouched. */
function parameterText(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString("hex")}`;
  if (typeof value === "object" && value !== null) return JSON.stringify(value);
  return String(value);
}

/** Gives postgres.js a socket. It must not reject: see `PostgresJsSocket`. */
async function openForPostgresJs(
  opener: SocketOpener,
  options: PostgresOptions,
  { database, admit }: ConnectPurpose,
  gate: LoginGate,
): Promise<PostgresJsSocket> {
  try {
    if (gate.shut !== null) throw gate.shut;
    const socket = new PostgresJsSocket(await opener.open(), opener, gate, admit ?? null);
    const open = connections.get(options) ?? new Map<PostgresJsSocket, string>();
    connections.set(options, open.set(socket, database));
    socket.once("close", () => open.delete(socket));
    return socket;
  } catch (error) {
    return new PostgresJsSocket(error instanceof Error ? error : new Error(String(error)), opener);
  }
}
