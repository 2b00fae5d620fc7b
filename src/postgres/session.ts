import { getLogger } from "@logtape/logtape";
import type postgres from "postgres";
import { PgsyncError } from "../errors/error.ts";
import { closedError } from "./adapter.ts";
import { type Backend, backendOfQuery } from "./backend.ts";

/**
 * Reserved connections and transactions that outlive the loss of their connection. In postgres.js 3.4 a statement on such a connection, even its own
 * ROLLBACK, is written to a socket that is not there any more, in a timer, where nobody can catch the error: the process dies.
 * And a dead connection that is released goes back into the pool as if it were open. So `reserve` and `begin`
 * are replaced: once the connection is gone, nothing is sent, every statement rejects, and it is not released.
 */

const logger = getLogger(["pgsync", "postgres"]);

/** Whatever can run a statement: a pool, a reserved connection, or the inside of `sql.begin`. */
export type Session = postgres.Sql | postgres.ReservedSql | postgres.TransactionSql;

/**
 * Replaces `reserve` and `begin` of a pool by safe ones. (`savepoint` and `prepare` are not offered.)
 *
 * @param closes told when a connection of the pool has closed
 */
export function withSafeSessions(pool: postgres.Sql, closes: EventTarget): postgres.Sql {
  const reserveOnce = pool.reserve;
  const reserveUnsafely = () => reserveAgain(() => reserveOnce(), closes);
  return Object.assign(pool, {
    async reserve(): Promise<postgres.ReservedSql> {
      const reserved = await reserveUnsafely();
      // A statement of its own, for the connection shows its socket only by a query.
      return (await openSession(reserved, "SELECT")).sql;
    },
    async begin(first: unknown, second?: unknown): Promise<unknown> {
      const work = second ?? first;
      if (typeof work !== "function") throw new PgsyncError("INTERNAL", "A transaction needs a function.");
      const options = typeof first === "string" ? first.replaceAll(/[^a-z ]/gi, "") : "";
      const session = await openSession(await reserveUnsafely(), `BEGIN ${options}`);
      try {
        return await inTransaction(session, (sql) => work(sql));
      } finally {
        session.sql.release();
      }
    },
  });
}

/** One connection, until it is disposed of. */
export interface OneSession extends Disposable {
  readonly sql: Session;
  readonly backend: Backend;
}

const backendsOfSessions = new WeakMap<object, Backend>();

/**
 * Of a pool, a connection that is reserved meanwhile; what is one connection already is given as it is.
 *
 * @throws PgsyncError INTERNAL where it is of no pool of ours
 */
export async function oneSession(sql: Session): Promise<OneSession> {
  if (!("reserve" in sql) || "release" in sql) {
    return { sql, backend: backendOfSession(sql), [Symbol.dispose]: () => {} };
  }
  const reserved = await sql.reserve();
  return { sql: reserved, backend: backendOfSession(reserved), [Symbol.dispose]: () => reserved.release() };
}

function backendOfSession(sql: Session): Backend {
  const backend = backendsOfSessions.get(sql);
  if (backend === undefined) throw new PgsyncError("INTERNAL", "A session of unknown origin was used.");
  return backend;
}

/**
 * Reserves, and asks once more when a connection closes meanwhile. Where all are in use, postgres.js 3.4 keeps those who wait in a queue; when one
 * closes, it takes the first from there to connect anew for it, and forgets it. What comes too often is given back.
 */
function reserveAgain(
  reserve: () => Promise<postgres.ReservedSql>,
  closes: EventTarget,
): Promise<postgres.ReservedSql> {
  const { promise, resolve, reject } = Promise.withResolvers<postgres.ReservedSql>();
  let settled = false;
  const settle = () => {
    settled = true;
    closes.removeEventListener("close", again);
  };
  const ask = () => {
    if (settled) return;
    reserve().then((reserved) => {
      if (settled) reserved.release();
      else resolve(reserved);
      settle();
    }, (error: unknown) => {
      reject(error);
      settle();
    });
  };
  // Not before postgres.js has done with the connection.
  const again = () => void setTimeout(ask);
  closes.addEventListener("close", again);
  ask();
  return promise;
}

async function inTransaction(
  session: SafeSession,
  work: (sql: postgres.ReservedSql) => unknown,
): Promise<unknown> {
  const { sql, backend } = session;
  const { promise: lost, reject } = Promise.withResolvers<never>();
  const forget = backend.onLoss(reject);
  try {
    const result = await Promise.race([collect(work(sql)), lost]);
    await commit(sql);
    return result;
  } catch (error) {
    // A lost connection takes the transaction with it.
    if (backend.loss === null) await rollBack(sql);
    throw error;
  } finally {
    forget();
  }
}

/**
 * Runs a transaction on a connection that is reserved already, by `reserve` of a safe pool.
 *
 * @param options of BEGIN
 * @throws what `work` throws; postgres.js' errors
 */
export async function transactionOn<T>(
  sql: postgres.ReservedSql,
  options: string,
  work: () => Promise<T>,
): Promise<T> {
  await sql.unsafe(`BEGIN ${options}`);
  try {
    const result = await work();
    await commit(sql);
    return result;
  } catch (error) {
    await rollBack(sql);
    throw error;
  }
}

async function commit(sql: postgres.ReservedSql): Promise<void> {
  const ended = await sql.unsafe("COMMIT");
  // The server answers so where a statement had failed and the failure was not passed on.
  if (ended.command === "ROLLBACK") {
    throw new PgsyncError("INTERNAL", "A transaction went on after a statement in it had failed.");
  }
}

/** Never rejects: the first error says why. */
async function rollBack(sql: postgres.ReservedSql): Promise<void> {
  await sql.unsafe("ROLLBACK").catch((error) => {
    logger.debug("a transaction could not be rolled back: {error}", { error });
  });
}

/** As postgres.js does: the queries of an array are awaited together. */
async function collect(value: unknown): Promise<unknown> {
  const settled: unknown = await value;
  return Array.isArray(settled) && !("statement" in settled) ? await Promise.all(settled) : settled;
}

interface SafeSession {
  readonly sql: postgres.ReservedSql;
  readonly backend: Backend;
}

/** Runs the first statement on a reserved connection, and guards all that follow. */
async function openSession(reserved: postgres.ReservedSql, statement: string): Promise<SafeSession> {
  const first = reserved.unsafe(statement).execute();
  try {
    await first;
  } catch (error) {
    // Refused by the server, the connection is as good as before; lost, it is nobody's.
    if (backendOfQuery(first) !== undefined) reserved.release();
    throw error;
  }
  const backend = backendOfQuery(first);
  if (backend === undefined) throw closedError();
  return { sql: guardedSql(reserved, backend), backend };
}

function guardedSql(reserved: postgres.ReservedSql, backend: Backend): postgres.ReservedSql {
  let released = false;
  const replaced: Record<PropertyKey, unknown> = {
    release: () => {
      if (!released && backend.loss === null) reserved.release();
      released = true;
    },
    unsafe: (...args: Parameters<typeof reserved.unsafe>) => guard(reserved.unsafe(...args), backend),
  };
  const guarded = new Proxy(reserved, {
    apply: (target, self, args) => guard(Reflect.apply(target, self, args), backend),
    get: (target, property) => property in replaced ? replaced[property] : Reflect.get(target, property),
  });
  backendsOfSessions.set(guarded, backend);
  return guarded;
}

/** postgres.js hands a query to its connection when it is awaited; from then on the guard stands in between. */
function guard<Query>(query: Query, backend: Backend): Query {
  if (typeof query !== "object" || query === null) return query;
  const handler: unknown = Reflect.get(query, "handler");
  if (typeof handler !== "function") return query;
  const guarded = (asked: { reject: (error: Error) => void }) =>
    backend.loss === null ? handler(asked) : asked.reject(backend.loss);
  Reflect.set(query, "handler", Object.assign(guarded, { debug: false }));
  return query;
}
