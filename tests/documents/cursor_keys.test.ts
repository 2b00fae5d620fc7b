/** Keys that come page by page: what is held meanwhile, what it costs, and that nothing is left behind. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cursorKeys } from "../../src/documents/cursor_keys.ts";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import { eventually } from "../support/eventually.ts";
import { optionsOf } from "../postgres/options.ts";
import { ownPostgres, ownStandby } from "../support/postgres.ts";

const NEVER = new AbortController().signal;
/** As the look-up of a fan-out: a parameter, and rows that are parted only when all are known. */
const STATEMENT = "SELECT DISTINCT n::text, note FROM public.item WHERE note = ANY ($1::text[])";
const PARAMETERS = ["{note}"];

for (const major of [13, 18] as const) {
  for (const where of ["primary", "standby"] as const) {
    describe(`Keys of PostgreSQL ${major}, from a ${where}`, () => {
      let writer: Sql;
      /** Has one connection, so that what spoils it shows at once. */
      let reader: Sql;
      let watcher: Sql;
      /** The log of the server that is read. */
      let log: () => string;

      before(async () => {
        const settings = { log_statement: "all", log_line_prefix: "%a " };
        const server = await ownPostgres({ major, settings });
        const open = (url: string, kind: "builder" | "admin") =>
          connectPostgres(optionsOf(url), { database: "postgres", purpose: kind, max: 1, kind });
        writer = open(server.url, "admin");
        await writer`CREATE TABLE public.item (n int, note text)`;
        await writer`INSERT INTO public.item SELECT n, 'note' FROM generate_series(1, 5000) AS n`;
        const read = where === "primary" ? server : await ownStandby(server, { settings });
        [reader, watcher] = [open(read.url, "builder"), open(read.url, "admin")];
        log = () => read.log();
        await replayed();
      });
      after(() => Promise.all([writer, reader, watcher].map((sql) => sql.end({ timeout: 1 }))));

      async function replayed(): Promise<void> {
        const [row] = await writer`SELECT pg_current_wal_lsn()::text AS lsn`;
        if (where === "primary") return;
        await eventually(async () => {
          const [at] = await watcher`SELECT pg_last_wal_replay_lsn() >= ${row?.["lsn"]}::pg_lsn AS there`;
          assert.equal(at?.["there"], true);
        }, { what: "the standby to have it" });
      }

      async function setRows(count: number): Promise<void> {
        await writer`TRUNCATE public.item`;
        await writer`INSERT INTO public.item SELECT n, 'note' FROM generate_series(1, ${count}::int) AS n`;
        await replayed();
      }

      /** Nothing is locked and no snapshot taken, as another session sees it. */
      async function assertNothingHeld(): Promise<void> {
        await eventually(async () => {
          const rows = await watcher`
            SELECT query FROM pg_stat_activity
            WHERE application_name = 'pgsync builder' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)
            UNION ALL
            SELECT 'a lock' FROM pg_locks WHERE relation = 'public.item'::regclass`;
          assert.deepEqual([...rows], []);
        });
      }

      /** The connection still answers, and has no cursor left but that of the question. */
      async function assertClean(sql = reader): Promise<void> {
        const rows = await sql`SELECT name FROM pg_cursors WHERE name <> ''`;
        assert.deepEqual([...rows], []);
      }

      for (const count of [0, 1, 4_999, 5_000, 5_001, 12_000]) {
        it(`${count} rows: all, each once, and nothing is held while they are used`, async () => {
          await setRows(count);
          const seen: string[] = [];
          for await (const page of cursorKeys(reader, STATEMENT, PARAMETERS, NEVER)) {
            await assertNothingHeld();
            assert.ok(page.length > 0);
            seen.push(...page);
          }
          assert.deepEqual([seen.length, new Set(seen).size], [count, count]);
          await assertClean();
        });
      }

      it("the caller may leave at any page, on a pool and on a reserved connection", async () => {
        await setRows(12_000);
        for (const leaveAfter of [1, 2, 3]) {
          let pages = 0;
          for await (const page of cursorKeys(reader, STATEMENT, PARAMETERS, NEVER)) {
            assert.ok(page.length > 0);
            if (++pages === leaveAfter) break;
          }
          await assertClean();
        }
        const reserved = await reader.reserve();
        for await (const page of cursorKeys(reserved, STATEMENT, PARAMETERS, NEVER)) {
          assert.equal(page.length, 5_000);
          break;
        }
        await assertClean(reserved);
        reserved.release();
        await assertClean();
      });

      it("a statement that fails, at once or after many rows, leaves nothing behind", async () => {
        await setRows(12_000);
        for (const fails of [1, 4_999, 5_001, 11_000]) {
          const statement =
            `SELECT n::text, (1 / (n - ${fails}))::text FROM public.item WHERE note = ANY ($1::text[])`;
          await assert.rejects(
            async () => {
              for await (const page of cursorKeys(reader, statement, PARAMETERS, NEVER)) assert.ok(page);
            },
            /division by zero/,
          );
          await assertClean();
        }
      });

      it("an abort cancels a statement that takes long", async () => {
        await setRows(12_000);
        const stop = new AbortController();
        // The first page comes quickly; the rest does not.
        const statement =
          "SELECT n::text FROM public.item WHERE note = ANY ($1::text[]) AND (n < 6000 OR pg_sleep(60)::text = '')";
        const reading = Array.fromAsync(cursorKeys(reader, statement, PARAMETERS, stop.signal));
        await eventually(async () => {
          const rows = await watcher`SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'`;
          assert.equal(rows.length, 1);
        }, { what: "the statement to sleep" });
        stop.abort(new Error("stopped"));
        await assert.rejects(reading, /stopped/);
        await assertClean();
      });

      it("an abort between two pages closes the cursor", async () => {
        const stop = new AbortController();
        await assert.rejects(
          async () => {
            for await (const page of cursorKeys(reader, STATEMENT, PARAMETERS, stop.signal)) {
              assert.ok(page);
              stop.abort(new Error("stopped"));
            }
          },
          /stopped/,
        );
        await assertClean();
      });

      it("a connection that is lost between two pages fails the reading, and is replaced", async () => {
        const read = async () => {
          for await (const page of cursorKeys(reader, STATEMENT, PARAMETERS, NEVER)) {
            assert.ok(page);
            await watcher`
              SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgsync builder'`;
          }
        };
        await assert.rejects(read, /terminat|closed/);
        await assertClean();
      });

      it("where the cursor cannot be closed, the connection is ended", async () => {
        const reserved = await reader.reserve();
        const pidOf = async (sql: Sql | typeof reserved) =>
          (await sql`SELECT pg_backend_pid()::text AS pid`)[0]?.["pid"];
        const before = await pidOf(reserved);
        const read = async () => {
          for await (const page of cursorKeys(reserved, STATEMENT, PARAMETERS, NEVER)) {
            assert.ok(page);
            await reserved`CLOSE ALL`;
          }
        };
        await assert.rejects(read, /does not exist/);
        reserved.release();
        assert.notEqual(await pidOf(reader), before);
      });

      it("a result of one page costs one statement", async () => {
        await setRows(4_999);
        await Array.fromAsync(cursorKeys(reader, `${STATEMENT} AND 'begin' <> ''`, PARAMETERS, NEVER));
        await reader`SELECT 'end'`;
        const statements = await eventually(() => {
          const all = log().split("\n").filter((line) =>
            /^pgsync builder LOG: .*(execute|statement)/.test(line)
          );
          const begin = all.findLastIndex((line) => line.includes("'begin'"));
          const end = all.findLastIndex((line) => line.includes("'end'"));
          assert.ok(begin >= 0 && end > begin);
          return end - begin;
        });
        assert.equal(statements, 1);
      });
    });
  }
}
