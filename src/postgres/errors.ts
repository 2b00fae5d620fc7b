import { PgsyncError } from "../errors/error.ts";
import { errorCode, whyUnreachable } from "./network_errors.ts";
import type { PostgresOptions } from "./options.ts";
import { addressOf } from "./socket.ts";

/** Where an error came from, for its sentence. */
export interface PostgresErrorContext {
  readonly options: PostgresOptions;
  readonly database: string;
  /** What was being done, to complete "PostgreSQL refused …": `to create the slot "book"`. */
  readonly doing?: string;
}

/** Classes begin with a digit, F0, HV, P0 or XX; so no code of the operating system (`EPERM`) is taken for one. */
const SQLSTATE = /^(?:[0-9][0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/;

/**
 * Makes our error of what postgres.js, a socket or the server threw. It decides by SQLSTATE and by the system's error codes,
 * never by text (messages are translated and change between versions).
 *
 * | what | code |
 * |---|---|
 * | 28xxx, 3D000, TLS | POSTGRES_LOGIN |
 * | no connection, 08xxx, 57P01-57P05, 55000 at a login | POSTGRES_UNREACHABLE (retry) |
 * | 40xxx, 53xxx, 55P03, 57014, 25P03, 25P04, 58xxx, XX000 | POSTGRES_BUSY (retry) |
 * | 42501 | PRIVILEGE_MISSING |
 * | any other SQLSTATE | POSTGRES_QUERY |
 * | anything else | INTERNAL |
 *
 * A `PgsyncError` is returned as it is.
 */
export function postgresError(thrown: unknown, context: PostgresErrorContext): PgsyncError {
  if (thrown instanceof PgsyncError) return thrown;
  const server = `PostgreSQL at ${addressOf(context.options)}`;
  const said = messageOf(thrown);
  const code = errorCode(thrown);
  const details = { cause: thrown };
  if (code === null) return new PgsyncError("INTERNAL", said, details);
  const unreachable = whyUnreachable(thrown);
  if (unreachable !== null) {
    return new PgsyncError("POSTGRES_UNREACHABLE", `${server} cannot be reached: ${unreachable}.`, details);
  }
  if (!SQLSTATE.test(code)) return new PgsyncError("INTERNAL", said, details);
  return serverError(code, said, server, thrown, context);
}

function serverError(
  sqlState: string,
  said: string,
  server: string,
  thrown: unknown,
  context: PostgresErrorContext,
): PgsyncError {
  const { options, database, doing } = context;
  const details = { cause: thrown };
  const sqlClass = sqlState.slice(0, 2);
  if (sqlClass === "28") {
    const without = options.password === null ? " (no password was given)" : "";
    return new PgsyncError(
      "POSTGRES_LOGIN",
      `${server} refused the login of user "${options.user}" to database "${database}"${without}: ${said}.`,
      details,
    );
  }
  if (sqlState === "3D000") {
    return new PgsyncError("POSTGRES_LOGIN", `${server} has no database "${database}".`, {
      remedy:
        "Correct `database` in the schema file, or create the database. Where it was renamed while it was followed, give it its " +
        "name again: under another one slot, checkpoint file and index would have to be made anew.",
      cause: thrown,
    });
  }
  if (sqlClass === "08" || /^57P0[1-5]$/.test(sqlState) || isShut(sqlState, thrown)) {
    return new PgsyncError("POSTGRES_UNREACHABLE", `${server} is not available: ${said}.`, details);
  }
  if (isBusy(sqlState)) {
    return new PgsyncError(
      "POSTGRES_BUSY",
      `${server} could not ${doing ?? "carry out a statement"} now: ${said}.`,
      {
        ...details,
        ...busyRemedy(sqlState),
      },
    );
  }
  if (sqlState === "42501") {
    return new PgsyncError(
      "PRIVILEGE_MISSING",
      `The role "${options.user}" lacks a privilege in database "${database}"${
        doing === undefined ? "" : ` to ${doing}`
      }: ${said}.`,
      details,
    );
  }
  return new PgsyncError(
    "POSTGRES_QUERY",
    `${server} refused to ${doing ?? "carry out a statement"}: ${said}${
      detailOf(thrown)
    } (SQLSTATE ${sqlState}).`,
    { ...details, ...(NOT_THERE.has(sqlState) ? { remedy: NOT_THERE_REMEDY } : {}) },
  );
}

/** A schema, table, column, function or type that does not exist. */
const NOT_THERE: ReadonlySet<string> = new Set(["3F000", "42P01", "42703", "42883", "42704"]);
/** What the schema file names was there when the run began. */
const NOT_THERE_REMEDY =
  "If a table was altered, or had another name for a moment, start again: the position is kept, and `pgsync plan` says what " +
  "is missing. A function that a view calls must name its tables with the schema.";

/** ALTER DATABASE … ALLOW_CONNECTIONS false, which ends no session, but lets nobody in; for a maintenance, most often. */
function isShut(sqlState: string, thrown: unknown): boolean {
  return sqlState === "55000" && typeof thrown === "object" && thrown !== null && "severity" in thrown &&
    thrown.severity === "FATAL";
}

/**
 * A standby where the primary was before: during a failover its name may lead there before it is promoted, so it is
 * waited for.
 */
export function standbyError(options: PostgresOptions): PgsyncError {
  return new PgsyncError(
    "POSTGRES_UNREACHABLE",
    `PostgreSQL at ${addressOf(options)} is a standby now, and the primary is waited for.`,
    { remedy: "None needed during a failover. If it lasts, connect to the primary (PG_URL)." },
  );
}

/**
 * Conflicts, locks, lack of resources, cancellation: the same statement may well succeed later. So may one that met an
 * internal error (XX000): nearly all are a statement, or a decoding, that came upon a table while it was altered ("cache
 * lookup failed", "could not open relation with OID", "unexpected duplicate for tablespace").
 */
function isBusy(sqlState: string): boolean {
  return ["40", "53", "58"].includes(sqlState.slice(0, 2)) ||
    ["55P03", "57014", "25P03", "25P04", "XX000"].includes(sqlState);
}

function busyRemedy(sqlState: string): { readonly remedy?: string } {
  switch (sqlState) {
    case "53300":
      return {
        remedy:
          "Raise max_connections (max_wal_senders for the stream), or close connections that nobody uses.",
      };
    case "53100":
      return { remedy: "Free space on the server's disk." };
    case "40001":
      // Our statements read, and each for itself, so no other transaction can be in their way.
      return {
        remedy:
          "If it lasts, set hot_standby_feedback = on at the standby, or raise its max_standby_streaming_delay.",
      };
    case "55P03":
      return {
        remedy: "Look in pg_locks for the session that holds the lock, and wait for its end or end it.",
      };
    case "XX000":
      return {
        remedy:
          "An internal error of the server's. If it lasts, look in the server's log, and for an update of it.",
      };
    default:
      return {};
  }
}

/** The SQLSTATE of what postgres.js threw (`42P01`), or null where it is not the server's error. */
export function sqlStateOf(thrown: unknown): string | null {
  const code = errorCode(thrown);
  return code !== null && SQLSTATE.test(code) ? code : null;
}

/** What PostgreSQL said of a value that a statement cannot deal with. */
export interface RowFault {
  readonly sqlState: string;
  readonly reason: string;
}

/**
 * Whether a statement failed by the values that it read rather than by itself or the server's state: data exceptions
 * (class 22: `1e200000` in a `json` has no `jsonb`) and exceeded limits (class 54: a text of more than 1 GB). The same
 * statement over other rows succeeds.
 *
 * @returns null where it failed for another reason
 */
export function rowFaultOf(thrown: unknown): RowFault | null {
  const sqlState = sqlStateOf(thrown);
  if (sqlState === null || !["22", "54"].includes(sqlState.slice(0, 2))) return null;
  return { sqlState, reason: `${messageOf(thrown)}${detailOf(thrown)}` };
}

/** The message without the full stop that the sentence adds itself. */
function messageOf(thrown: unknown): string {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return message.replace(/\.$/, "");
}

function detailOf(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null || !("detail" in thrown)) return "";
  return typeof thrown.detail === "string" ? ` (${thrown.detail.replace(/\.$/, "")})` : "";
}
