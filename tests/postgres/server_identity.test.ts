/** Which server a session has come to is asked when it has logged in, before anything else is done with it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors/codes.ts";
import { connectPostgres, type ConnectPurpose } from "../../src/postgres/connect.ts";
import {
  type FoundServer,
  IDENTITY_SQL,
  oneServer,
  onlyPrimary,
  onlyServer,
  readIdentity,
} from "../../src/postgres/server_identity.ts";
import { POSTGRES_DEFAULTS } from "../../src/postgres/options.ts";
import { usePostgres } from "../support/postgres.ts";
import { optionsOf } from "./options.ts";

const OPTIONS = { ...POSTGRES_DEFAULTS, user: "me" };
const server = (systemIdentifier: string, timeline: number | null): FoundServer => ({
  systemIdentifier,
  timeline,
});

test("only one server passes: a standby is waited for, another timeline and another cluster are told", () => {
  const admit = onlyServer(OPTIONS, { systemIdentifier: "7", timeline: 2 });
  const codes = [
    server("7", 2),
    server("7", null),
    server("7", 3),
    server("7", 1),
    server("8", 2),
    server("8", null),
  ]
    .map((found) => admit(found)?.code ?? null);
  const changed: ErrorCode = "SERVER_CHANGED";
  assert.deepEqual(codes, [null, "POSTGRES_UNREACHABLE", changed, changed, changed, changed]);
});

test("a primary passes, whichever it is; a standby is waited for", () => {
  const admit = onlyPrimary(OPTIONS);
  const codes = [server("7", 1), server("8", 3), server("7", null)].map((found) =>
    admit(found)?.code ?? null
  );
  assert.deepEqual(codes, [null, null, "POSTGRES_UNREACHABLE"]);
});

test("whichever the first is, all others must be the same", () => {
  const judged = (...found: readonly FoundServer[]) => {
    const admit = oneServer(OPTIONS);
    return found.map((each) => admit(each)?.code ?? null);
  };
  assert.deepEqual(judged(server("7", 1), server("7", 1), server("7", 2), server("7", 1)), [
    ...[null, null, "SERVER_CHANGED", null],
  ]);
  assert.deepEqual(judged(server("7", null), server("7", null), server("7", 1), server("8", null)), [
    ...[null, null, "SERVER_CHANGED", "SERVER_CHANGED"],
  ]);
});

test("every kind of session asks it once, and is not used where it is refused", async () => {
  const { url } = await usePostgres(17);
  const options = optionsOf(url);
  for (const kind of ["builder", "admin", "replication"] as const) {
    const asked: FoundServer[] = [];
    let shut = false;
    const refusal = () => Object.assign(new Error("not this one"), { code: "XX001" });
    const purpose: ConnectPurpose = {
      ...{ database: "postgres", purpose: "test", max: 2, kind },
      admit: (found) => {
        asked.push(found);
        if (shut) throw refusal();
        return null;
      },
    };
    const sql = connectPostgres(options, purpose);
    const [row] = await sql.unsafe(IDENTITY_SQL).values();
    await sql.unsafe("SELECT 1");
    assert.equal(asked.length, 1, kind);
    const [text] = await sql.unsafe("SELECT system_identifier::text FROM pg_catalog.pg_control_system()")
      .values();
    assert.equal(asked[0]?.systemIdentifier, String(text?.[0]));
    assert.equal(asked[0]?.timeline, 1);
    assert.ok(row !== undefined);
    // A second session, of a reservation.
    if (kind !== "replication") {
      const [one, two] = await Promise.all([sql.reserve(), sql.reserve()]);
      assert.equal(asked.length, 2, kind);
      one.release();
      two.release();
    }
    await sql.end({ timeout: 1 });
    shut = true;
    const other = connectPostgres(options, purpose);
    await assert.rejects(other.unsafe("SELECT 1"), { message: "not this one" });
    if (kind !== "replication") await assert.rejects(other.reserve(), { message: "not this one" });
    shut = false;
    await other.unsafe("SELECT 1");
    await other.end({ timeout: 1 });
  }
});

test("what is no answer is an error", () => {
  assert.throws(() => readIdentity([]));
  assert.throws(() => readIdentity(["7", "not a file"]));
  assert.deepEqual(readIdentity(["7", "0000000A0000000000000001"]), { systemIdentifier: "7", timeline: 10 });
  assert.deepEqual(readIdentity(["7", null]), { systemIdentifier: "7", timeline: null });
});
