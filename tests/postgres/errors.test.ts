import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { connectPostgres } from "../../src/postgres/connect.ts";
import { postgresError, sqlStateOf } from "../../src/postgres/errors.ts";
import { isTemporary } from "../../src/retry/patience.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { optionsOf } from "./options.ts";

const options = optionsOf("postgres://reader:secret@db.example:5432/shop");
const context = { options, database: "shop" };

function thrown(code: string, message = "the server's words"): Error {
  return Object.assign(new Error(message), { code });
}

test("SQLSTATEs and system codes are told apart by class", () => {
  const expected: Record<string, [string, boolean]> = {
    "28P01": ["POSTGRES_LOGIN", false],
    "28000": ["POSTGRES_LOGIN", false],
    "3D000": ["POSTGRES_LOGIN", false],
    "08006": ["POSTGRES_UNREACHABLE", true],
    "57P01": ["POSTGRES_UNREACHABLE", true],
    "57P03": ["POSTGRES_UNREACHABLE", true],
    ECONNREFUSED: ["POSTGRES_UNREACHABLE", true],
    EPIPE: ["POSTGRES_UNREACHABLE", true],
    ENOTFOUND: ["POSTGRES_UNREACHABLE", true],
    CONNECTION_CLOSED: ["POSTGRES_UNREACHABLE", true],
    CONNECT_TIMEOUT: ["POSTGRES_UNREACHABLE", true],
    "53300": ["POSTGRES_BUSY", true],
    "40001": ["POSTGRES_BUSY", true],
    "55P03": ["POSTGRES_BUSY", true],
    "57014": ["POSTGRES_BUSY", true],
    "42501": ["PRIVILEGE_MISSING", false],
    "42P01": ["POSTGRES_QUERY", false],
    XX000: ["POSTGRES_BUSY", true],
    XX001: ["POSTGRES_QUERY", false],
    EPERM: ["INTERNAL", false],
  };
  for (const [code, [wanted, temporary]] of Object.entries(expected)) {
    const error = postgresError(thrown(code), context);
    assert.equal(error.code, wanted, code);
    assert.equal(isTemporary(error), temporary, code);
  }
});

test("an error of ours stays what it is, anything else is INTERNAL", () => {
  const ours = new PgsyncError("SLOT_LOST", "gone");
  assert.equal(postgresError(ours, context), ours);
  assert.equal(postgresError("text", context).code, "INTERNAL");
});

test("a session that is refused as the database takes none may be had later; a statement that is refused by that code may not", () => {
  const refused = thrown("55000");
  assert.equal(
    postgresError(Object.assign(refused, { severity: "FATAL" }), context).code,
    "POSTGRES_UNREACHABLE",
  );
  assert.equal(postgresError(Object.assign(refused, { severity: "ERROR" }), context).code, "POSTGRES_QUERY");
});

test("the sentence names server, user and database, never the password", () => {
  const { message } = postgresError(thrown("28P01"), context);
  assert.equal(
    message,
    'PostgreSQL at db.example:5432 refused the login of user "reader" to database "shop": the server\'s words.',
  );
  for (const code of ["28P01", "3D000", "ECONNREFUSED", "53300", "42501", "42P01"]) {
    assert.doesNotMatch(postgresError(thrown(code), context).message, /secret/);
  }
});

test("what is not there any more has a remedy of its own", () => {
  for (const code of ["3F000", "42P01", "42703", "42883", "42704"]) {
    const error = postgresError(thrown(code), { options, database: "shop" });
    assert.equal(error.code, "POSTGRES_QUERY");
    assert.match(error.remedy, /start again: the position is kept/);
  }
  assert.doesNotMatch(postgresError(thrown("42601"), { options, database: "shop" }).remedy, /start again/);
});

test("only the server's errors have an SQLSTATE", () => {
  assert.equal(sqlStateOf(thrown("42P01")), "42P01");
  assert.equal(sqlStateOf(thrown("EPIPE")), null);
  assert.equal(sqlStateOf(undefined), null);
});

/** What the first statement on a new pool throws. */
async function failureOf(changes: Partial<typeof options>, database = "postgres"): Promise<PgsyncError> {
  const used = { ...options, ...changes };
  const sql = connectPostgres(used, { database, purpose: "test", max: 1, kind: "admin" });
  try {
    await sql`SELECT 1`;
  } catch (error) {
    return postgresError(error, { options: used, database });
  } finally {
    await sql.end({ timeout: 1 });
  }
  throw new Error("it succeeded");
}

test("a wrong password, a missing password, a missing role", async () => {
  const server = await ownPostgres({ password: "right" });
  const reach = optionsOf(server.url);
  const wrong = await failureOf({ ...reach, password: "wrong" });
  assert.equal(wrong.code, "POSTGRES_LOGIN");
  assert.match(wrong.message, /refused the login of user "postgres"/);
  const none = await failureOf({ ...reach, password: null });
  assert.equal(none.code, "POSTGRES_LOGIN");
  assert.match(none.message, /no password was given/);
  assert.equal((await failureOf({ ...reach, user: "nobody" })).code, "POSTGRES_LOGIN");
  await server.halt();
  assert.equal((await failureOf(reach)).code, "POSTGRES_UNREACHABLE");
});

test("a database that does not exist has its own sentence", async () => {
  const { url } = await usePostgres();
  const error = await failureOf(optionsOf(url), "no such");
  assert.equal(error.code, "POSTGRES_LOGIN");
  assert.match(error.message, /has no database "no such"\.$/);
});

test("a host that is not known", async () => {
  const error = await failureOf({ host: "pgsync.invalid", sslmode: "disable" });
  assert.equal(error.code, "POSTGRES_UNREACHABLE");
});
