import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { PgoutputMessage } from "../../src/replication/pgoutput_types.ts";
import { dropPublication } from "../../src/replication/publication.ts";
import { inspectSlot } from "../../src/replication/slot.ts";
import type { Tuple } from "../../src/replication/tuple.ts";
import { delay } from "../../src/retry/backoff.ts";
import { eventually } from "../support/eventually.ts";
import { usedMemory } from "../support/memory.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { newSource, Recorder, type Source, startStream } from "./setup.ts";

function valuesOf(tuple: Tuple | null): (string | null | undefined)[] | null {
  return tuple === null ? null : Array.from({ length: tuple.length }, (_, index) => tuple.text(index));
}

/** A message in short, for comparisons. Long values are cut. */
function brief(message: PgoutputMessage): unknown[] {
  const cut = (values: ReturnType<typeof valuesOf>) =>
    values?.map((value) => typeof value === "string" && value.length > 30 ? "long" : value) ?? null;
  switch (message.kind) {
    case "relation":
      return [
        "relation",
        message.table,
        message.replicaIdentity,
        message.columns.map((c) => (c.isKey ? "*" : "") + c.name),
      ];
    case "insert":
      return ["insert", message.relation.table, cut(valuesOf(message.newTuple))];
    case "update":
      return [
        "update",
        message.relation.table,
        cut(valuesOf(message.oldTuple)),
        cut(valuesOf(message.newTuple)),
      ];
    case "delete":
      return ["delete", message.relation.table, cut(valuesOf(message.oldTuple))];
    case "truncate":
      return [
        "truncate",
        message.relations.map((relation) => relation.table),
        message.cascade,
        message.restartIdentity,
      ];
    case "type":
      return ["type", message.schema, message.name];
    case "message":
      return ["message", message.transactional, message.prefix, message.content.toString()];
    default:
      return [message.kind];
  }
}

/** The messages between begin and commit. */
function inner(messages: readonly PgoutputMessage[]): unknown[][] {
  return messages.filter(({ kind }) => kind !== "begin" && kind !== "commit").map(brief);
}

// Not compressible, so that it is stored out of line (TOAST).
const LONG = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) AS i)";

const DDL = `
  CREATE TYPE public.mood AS ENUM ('good', 'bad');
  CREATE TABLE public.book (id int PRIMARY KEY, isbn text NOT NULL UNIQUE, body text, mood public.mood);
  CREATE TABLE public.whole (id int PRIMARY KEY, body text, price numeric);
  ALTER TABLE public.whole REPLICA IDENTITY FULL;
  CREATE TABLE public.indexed (id int PRIMARY KEY, code text NOT NULL UNIQUE, note text);
  ALTER TABLE public.indexed REPLICA IDENTITY USING INDEX indexed_code_key;
  CREATE TABLE public.event (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
  CREATE TABLE public.event_2024 PARTITION OF public.event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
  CREATE TABLE public.event_2025 PARTITION OF public.event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');`;
const TABLES = ["book", "whole", "indexed", "event"];

for (const major of [15, 17] as const) {
  describe(`PostgreSQL ${major}`, () => {
    /** Runs with a fresh source and ends everything afterwards. */
    async function withSource(
      use: (source: Source) => Promise<void>,
      ddl = DDL,
      tables = TABLES,
    ): Promise<void> {
      const { url } = await (await usePostgres(major)).createDatabase();
      const source = await newSource(url, ddl, tables);
      try {
        await use(source);
      } finally {
        await source.sql.end({ timeout: 1 });
      }
    }

    test("every kind of change arrives as the server means it", () =>
      withSource(async (source) => {
        const { sql } = source;
        const recorder = new Recorder();
        const stream = await startStream(source, recorder);
        const after = async (statement: string) => {
          await sql.unsafe(statement);
          return inner(await recorder.takeCommits(1));
        };

        // The default identity: the key alone.
        assert.deepEqual(
          await after(`INSERT INTO public.book VALUES (1, 'i1', ${LONG}, 'good'), (2, 'i2', NULL, NULL)`),
          [
            ["type", "public", "mood"],
            ["relation", "book", "default", ["*id", "isbn", "body", "mood"]],
            ["insert", "book", ["1", "i1", "long", "good"]],
            ["insert", "book", ["2", "i2", null, null]],
          ],
        );
        assert.deepEqual(await after("UPDATE public.book SET mood = 'bad' WHERE id = 1"), [
          ["update", "book", null, ["1", "i1", undefined, "bad"]],
        ]);
        assert.deepEqual(await after("UPDATE public.book SET id = 3 WHERE id = 1"), [
          ["update", "book", ["1", undefined, undefined, undefined], ["3", "i1", undefined, "bad"]],
        ]);
        assert.deepEqual(await after("DELETE FROM public.book WHERE id = 3"), [
          ["delete", "book", ["3", undefined, undefined, undefined]],
        ]);

        // FULL: whole old rows, and the TOASTed value only in the old one.
        assert.deepEqual(await after(`INSERT INTO public.whole VALUES (1, ${LONG}, 1.50)`), [
          ["relation", "whole", "full", ["*id", "*body", "*price"]],
          ["insert", "whole", ["1", "long", "1.50"]],
        ]);
        assert.deepEqual(await after("UPDATE public.whole SET price = NULL"), [
          ["update", "whole", ["1", "long", "1.50"], ["1", undefined, null]],
        ]);
        assert.deepEqual(await after("DELETE FROM public.whole"), [["delete", "whole", ["1", "long", null]]]);

        // An index: its columns.
        assert.deepEqual(await after("INSERT INTO public.indexed VALUES (1, 'a', 'x')"), [
          ["relation", "indexed", "index", ["id", "*code", "note"]],
          ["insert", "indexed", ["1", "a", "x"]],
        ]);
        assert.deepEqual(await after("UPDATE public.indexed SET code = 'b'"), [
          ["update", "indexed", [undefined, "a", undefined], ["1", "b", "x"]],
        ]);

        // Changes of partitions appear as their root's (the partition is described too); a row that moves is deleted and inserted.
        const entered = await after("INSERT INTO public.event VALUES (1, '2024-05-06')");
        assert.deepEqual(entered[0], ["relation", "event", "default", ["*id", "*day"]]);
        assert.deepEqual(entered.filter(([kind]) => kind !== "relation"), [["insert", "event", [
          "1",
          "2024-05-06",
        ]]]);
        const moved = await after("UPDATE public.event SET day = '2025-05-06'");
        assert.deepEqual(moved.filter(([kind]) => kind !== "relation"), [
          ["delete", "event", ["1", "2024-05-06"]],
          ["insert", "event", ["1", "2025-05-06"]],
        ]);

        const truncated = await after("TRUNCATE public.book, public.whole RESTART IDENTITY CASCADE");
        assert.deepEqual(truncated.filter(([kind]) => kind === "truncate"), [
          ["truncate", ["book", "whole"], true, true],
        ]);

        assert.deepEqual(await after("SELECT pg_logical_emit_message(true, 'pgsync', 'within')"), [
          ["message", true, "pgsync", "within"],
        ]);
        await sql.unsafe("SELECT pg_logical_emit_message(false, 'pgsync', 'alone')");
        await eventually(() =>
          assert.deepEqual(inner(recorder.messages), [["message", false, "pgsync", "alone"]])
        );
        recorder.messages.length = 0;

        // A new column is described before the next change, within the same transaction too (these three are one).
        const widened = await after(`
          INSERT INTO public.indexed VALUES (2, 'c', 'x');
          ALTER TABLE public.indexed ADD COLUMN extra int DEFAULT 7;
          INSERT INTO public.indexed VALUES (3, 'd', 'x')`);
        assert.deepEqual(widened.slice(-3), [
          ["insert", "indexed", ["2", "c", "x"]],
          ["relation", "indexed", "index", ["id", "*code", "note", "extra"]],
          ["insert", "indexed", ["3", "d", "x", "7"]],
        ]);
        await stream.stop();
        await stream.closed;
      }));

    test("begin and commit carry the transaction's id, time and positions", () =>
      withSource(async (source) => {
        const recorder = new Recorder();
        const stream = await startStream(source, recorder);
        const before = Date.now();
        const [row] = await source.sql.begin(async (transaction) => {
          await transaction`INSERT INTO public.book VALUES (1, 'i', NULL, NULL)`;
          return await transaction`SELECT pg_current_xact_id()::text AS xid`;
        });
        const [position] = await source.sql`SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS lsn`;
        const messages = await recorder.takeCommits(1);
        const begin = messages[0];
        const commit = messages.at(-1);
        assert.ok(begin?.kind === "begin" && commit?.kind === "commit");
        assert.equal(begin.xid, Number(row?.["xid"]) % 2 ** 32);
        assert.equal(begin.finalLsn, commit.commitLsn);
        assert.ok(commit.endLsn > commit.commitLsn && commit.endLsn <= BigInt(position?.["lsn"]));
        assert.ok(Math.abs(commit.commitTimeMs - before) < 60_000);
        await stream.stop();
      }));

    test("what is confirmed is not sent again, by the commit's end; what is not, is", () =>
      withSource(async (source) => {
        const { sql } = source;
        const recorder = new Recorder();
        const first = await startStream(source, recorder);
        await sql`INSERT INTO public.book VALUES (1, 'i1', NULL, NULL)`;
        await recorder.takeCommits(1);
        first.confirm(recorder.position);
        await eventually(async () =>
          assert.equal((await inspectSlot(sql, source.slot))?.confirmedFlushLsn, recorder.position)
        );
        // It only grows.
        first.confirm(1n);
        assert.equal(first.confirmedLsn, recorder.position);
        await sql`INSERT INTO public.book VALUES (2, 'i2', NULL, NULL)`;
        await recorder.takeCommits(1);
        await first.stop();

        const second = await startStream(source, recorder, {
          position: first.confirmedLsn,
          startLsn: first.confirmedLsn,
        });
        const again = inner(await recorder.takeCommits(1)).filter(([kind]) => kind === "insert");
        assert.deepEqual(again, [["insert", "book", ["2", "i2", null, null]]]);
        // The last confirmation goes out with the end of the stream.
        second.confirm(recorder.position);
        await second.stop();
        assert.equal((await inspectSlot(sql, source.slot))?.confirmedFlushLsn, recorder.position);
      }));

    test("whoever is overtaken between its look at the slot and the start of its session is told, and the slot keeps its place", () =>
      withSource(async (source) => {
        const { sql, options, slot } = source;
        const startLsn = (await inspectSlot(sql, slot))?.confirmedFlushLsn ?? 0n;
        await sql`INSERT INTO public.book VALUES (1, 'i1', NULL, NULL)`;
        const proxy = await startTcpProxy(`tcp://${options.host}:${options.port}`);
        const behind = { ...source, options: { ...options, port: Number(new URL(proxy.url).port) } };
        const held = proxy.holdBack(/START_REPLICATION/);
        const overtaken = new Recorder();
        const starting = startStream(behind, overtaken, { position: startLsn, startLsn });
        starting.catch(() => {});
        await held.caught;

        const recorder = new Recorder();
        const other = await startStream(source, recorder, { position: startLsn, startLsn });
        await recorder.takeCommits(1);
        other.confirm(recorder.position);
        await other.stop();
        await held.release();

        await assert.rejects(starting, { code: "CHECKPOINT_BEHIND" });
        assert.equal(overtaken.messages.length, 0);
        await eventually(async () => assert.equal((await inspectSlot(sql, slot))?.active, false));
        assert.equal((await inspectSlot(sql, slot))?.confirmedFlushLsn, recorder.position);
        await proxy.stop();
      }));

    test("keepalives tell how far the server is while nothing of ours happens", () =>
      withSource(async (source) => {
        const recorder = new Recorder();
        const stream = await startStream(source, recorder);
        const [row] = await source.sql`SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS lsn`;
        await source.sql`CREATE TABLE public.elsewhere ()`;
        await eventually(() => assert.ok(recorder.keepalive > BigInt(row?.["lsn"])));
        await stream.stop();
      }));

    test("a consumer that pauses for longer than wal_sender_timeout stays connected, and gets everything", () =>
      withSource(async (source) => {
        const { sql, database } = source;
        await sql.unsafe(`ALTER DATABASE ${database} SET wal_sender_timeout = '1s'`);
        const recorder = new Recorder();
        const stream = await startStream(source, recorder, { startPaused: true });
        // More than the buffers of both sides hold.
        await sql`INSERT INTO public.book SELECT i, i, repeat('x', 1000), NULL FROM generate_series(1, 30000) AS i`;
        await delay(3_500);
        assert.equal(recorder.messages.length, 0);
        assert.equal((await inspectSlot(sql, source.slot))?.active, true);
        stream.resume();
        const messages = await recorder.takeCommits(1);
        assert.equal(messages.filter(({ kind }) => kind === "insert").length, 30_000);
        await stream.stop();
      }));

    test("an idle stream outlives its own watchdog: the server is asked for answers", () =>
      withSource(async (source) => {
        await source.sql.unsafe(`ALTER DATABASE ${source.database} SET wal_sender_timeout = '600ms'`);
        const recorder = new Recorder();
        const stream = await startStream(source, recorder);
        await delay(2_500);
        await source.sql`INSERT INTO public.book VALUES (1, 'i', NULL, NULL)`;
        await recorder.takeCommits(1);
        await stream.stop();
        await stream.closed;
      }));

    test("pausing in the middle of a chunk holds back at once", () =>
      withSource(async (source) => {
        const recorder = new Recorder();
        let seen = 0;
        const stream = await startStream(source, recorder, {
          onMessage: (message) => {
            recorder.onMessage(message);
            if (++seen % 100 === 0) {
              stream.pause();
              const count = recorder.messages.length;
              setTimeout(() => {
                assert.equal(recorder.messages.length, count);
                stream.resume();
              }, 1);
            }
          },
        });
        await source.sql`INSERT INTO public.book SELECT i, i, NULL, NULL FROM generate_series(1, 5000) AS i`;
        const messages = await recorder.takeCommits(1);
        const ids = messages.flatMap((message) =>
          message.kind === "insert" ? [Number(message.newTuple.text(0))] : []
        );
        assert.deepEqual(ids, Array.from({ length: 5_000 }, (_, index) => index + 1));
        await stream.stop();
      }));

    test("memory stays flat over a large transaction", () =>
      withSource(async (source) => {
        let rows = 0;
        let commits = 0;
        let highest = 0;
        const start = usedMemory();
        const stream = await startStream(source, new Recorder(), {
          onMessage: (message) => {
            if (message.kind === "commit") commits++;
            if (message.kind !== "insert" || ++rows % 10_000 !== 0) return;
            highest = Math.max(highest, usedMemory());
            stream.pause();
            setTimeout(() => stream.resume(), 5);
          },
        });
        await source.sql`
          INSERT INTO public.whole SELECT i, repeat('x', 1000), NULL FROM generate_series(1, 150000) AS i`;
        await eventually(() => assert.equal(commits, 1), { timeout: 60_000 });
        assert.equal(rows, 150_000);
        assert.ok(highest - start < 20_000_000, `memory grew by ${highest - start} bytes`);
        await stream.stop();
      }));

    test("what the consumer throws ends the stream with it", () =>
      withSource(async (source) => {
        const stream = await startStream(source, new Recorder(), {
          onMessage: () => {
            throw new Error("a fault in the consumer");
          },
        });
        await source.sql`INSERT INTO public.book VALUES (1, 'i', NULL, NULL)`;
        await assert.rejects(stream.closed, { code: "INTERNAL", message: "a fault in the consumer" });
        await stream.stop();
      }));

    test("a publication that goes missing is named", () =>
      withSource(async (source) => {
        await dropPublication(source.sql, source.publication);
        const stream = await startStream(source, new Recorder());
        await source.sql`INSERT INTO public.book VALUES (1, 'i', NULL, NULL)`;
        await assert.rejects(stream.closed, { code: "PUBLICATION_MISSING" });
      }));

    test("a database that does not exist", () =>
      withSource(async (source) => {
        await assert.rejects(startStream({ ...source, database: "nowhere" }, new Recorder()), {
          code: "POSTGRES_LOGIN",
          message: /has no database "nowhere"/,
        });
      }));

    test("a fast shutdown is not held up by a consumer that cannot confirm", async () => {
      const server = await ownPostgres({ major });
      const source = await newSource(server.url, DDL, TABLES);
      const stream = await startStream(source, new Recorder(), { startPaused: true });
      await source
        .sql`INSERT INTO public.book SELECT i, i, repeat('x', 1000), NULL FROM generate_series(1, 30000) AS i`;
      const start = performance.now();
      const ended = assert.rejects(stream.closed, {
        code: "POSTGRES_UNREACHABLE",
        message: /is shutting down\.$/,
      });
      await server.halt("fast");
      const seconds = (performance.now() - start) / 1_000;
      assert.ok(seconds < 10, `the shutdown took ${seconds} s`);
      await ended;
      await assert.rejects(startStream(source, new Recorder()), { code: "POSTGRES_UNREACHABLE" });
      await source.sql.end({ timeout: 1 });
      await server.stop("immediate");
    });
  });
}

test("a server that falls silent is given up after twice wal_sender_timeout", async () => {
  const { url } = await (await usePostgres()).createDatabase();
  const source = await newSource(url, DDL, TABLES);
  await source.sql.unsafe(`ALTER DATABASE ${source.database} SET wal_sender_timeout = '500ms'`);
  const proxy = await startTcpProxy(url);
  const behind = { ...source, options: { ...source.options, port: Number(new URL(proxy.url).port) } };
  const stream = await startStream(behind, new Recorder());
  proxy.swallowAnswers(true);
  const start = performance.now();
  await assert.rejects(stream.closed, {
    code: "POSTGRES_UNREACHABLE",
    message: /has been silent for 1000 ms\.$/,
  });
  assert.ok(performance.now() - start < 5_000);
  await proxy.stop();
  await source.sql.end({ timeout: 1 });
});
