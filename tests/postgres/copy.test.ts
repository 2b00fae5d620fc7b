import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { connectPostgres, type Sql } from "../../src/postgres/connect.ts";
import { copyOut } from "../../src/postgres/copy.ts";
import { CopyBinaryReader } from "../../src/postgres/copy_binary.ts";
import { delay } from "../../src/retry/backoff.ts";
import { eventually } from "../support/eventually.ts";
import { usePostgres } from "../support/postgres.ts";
import { optionsOf } from "./options.ts";

let sql: Sql;
let admin: Sql;

before(async () => {
  const options = optionsOf((await usePostgres()).url);
  // One connection, so that a COPY that spoils it shows at once.
  sql = connectPostgres(options, { database: "postgres", purpose: "copy test", max: 1, kind: "builder" });
  admin = connectPostgres(options, { database: "postgres", purpose: "test", max: 1, kind: "admin" });
});
after(() => Promise.all([sql.end({ timeout: 1 }), admin.end({ timeout: 1 })]));

/** The connection still answers. */
async function assertUsable(): Promise<void> {
  assert.deepEqual([...await sql`SELECT 'usable' AS state`], [{ state: "usable" }]);
}

function rowsOf(count: number, bytes: number): string {
  return `COPY (SELECT i, repeat('x', ${bytes}) FROM generate_series(1, ${count}) AS i) TO STDOUT (FORMAT binary)`;
}

test("300 MB for a slow consumer: all rows, flat memory, and the connection is usable afterwards", async () => {
  const reader = new CopyBinaryReader();
  let rows = 0;
  let bytes = 0;
  let highest = 0;
  const start = process.memoryUsage().rss;
  await copyOut(sql, rowsOf(100_000, 3_000), (data, start, end) => {
    bytes += end - start;
    reader.push(data, start, end);
    while (reader.next()) rows++;
    if (rows % 5_000 !== 0) return;
    highest = Math.max(highest, process.memoryUsage().rss);
    return delay(20);
  });
  reader.finish();
  assert.equal(rows, 100_000);
  assert.ok(bytes > 300_000_000);
  assert.ok(highest - start < 120_000_000, `memory grew by ${highest - start} bytes`);
  await assertUsable();
});

test("a consumer that is slow to the end does not leave the socket asleep for the next statement", async () => {
  for (const [count, bytes] of [[100, 700], [130, 1_000], [200, 1_500], [300, 3_000]] as const) {
    let chunks = 0;
    await copyOut(sql, rowsOf(count, bytes), () => {
      chunks++;
      return delay(1);
    });
    assert.equal(chunks, count + 1);
    await assertUsable();
  }
});

test("the server waits for the consumer", async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  let chunks = 0;
  const copying = copyOut(sql, rowsOf(100_000, 3_000), () => ++chunks === 1 ? held : undefined);
  await eventually(async () => {
    const rows = await admin`
      SELECT 1 FROM pg_stat_activity WHERE application_name = 'pgsync copy test' AND wait_event = 'ClientWrite'`;
    assert.equal(rows.length, 1);
  }, { what: "the backend to wait for its client" });
  assert.equal(chunks, 1);
  release();
  await copying;
  assert.equal(chunks, 100_001);
  await assertUsable();
});

test("calls never overlap, and come in order", async () => {
  let working = false;
  const seen: string[] = [];
  await copyOut(sql, "COPY (SELECT generate_series(1, 500)) TO STDOUT", async (bytes, start, end) => {
    assert.equal(working, false);
    working = true;
    await Promise.resolve();
    seen.push(bytes.toString("utf8", start, end).trim());
    working = false;
  });
  assert.deepEqual(seen, Array.from({ length: 500 }, (_, index) => String(index + 1)));
});

test("the last call is awaited", async () => {
  let finished = false;
  await copyOut(sql, "COPY (SELECT 1) TO STDOUT", async () => {
    await delay(30);
    finished = true;
  });
  assert.equal(finished, true);
});

test("a statement that the server refuses", async () => {
  await assert.rejects(copyOut(sql, "COPY (SELECT * FROM nowhere) TO STDOUT", () => {}), { code: "42P01" });
  await assertUsable();
});

test("an error in mid-stream, with a slow consumer", async () => {
  const failing =
    "COPY (SELECT 1 / (5000 - i), repeat('x', 3000) FROM generate_series(1, 10000) AS i) TO STDOUT";
  let chunks = 0;
  const slow = () => ++chunks % 100 === 0 ? delay(1) : undefined;
  await assert.rejects(copyOut(sql, failing, slow), { code: "22012" });
  assert.ok(chunks > 1_000);
  await assertUsable();
});

test("what the consumer throws, or rejects with, cancels the statement and is thrown", async () => {
  // Rows are computed one by one here, so that without a cancellation this would run for minutes.
  const endless = "COPY (SELECT pg_sleep(0.01), repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT";
  const fault = new Error("disk full");
  await assert.rejects(
    copyOut(sql, endless, () => {
      throw fault;
    }),
    fault,
  );
  await assertUsable();
  await assert.rejects(copyOut(sql, endless, () => Promise.reject(fault)), fault);
  await assertUsable();
});

test("an abort cancels the statement on the server, also while it computes and sends nothing", async () => {
  const stop = new AbortController();
  const copying = copyOut(sql, "COPY (SELECT pg_sleep(600)) TO STDOUT", () => {}, stop.signal);
  await eventually(async () => {
    assert.equal((await admin`SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'`).length, 1);
  });
  stop.abort(new Error("stopping"));
  await assert.rejects(copying, { message: "stopping" });
  assert.equal((await admin`SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'`).length, 0);
  await assertUsable();
  await assert.rejects(copyOut(sql, "COPY (SELECT 1) TO STDOUT", () => {}, stop.signal), {
    message: "stopping",
  });
});

test("inside a transaction it runs on that transaction's connection", async () => {
  const seen: string[] = [];
  await sql.begin(async (transaction) => {
    const [before] = await transaction`SELECT pg_backend_pid() AS pid`;
    await copyOut(transaction, "COPY (SELECT pg_backend_pid()) TO STDOUT", (bytes, start, end) => {
      seen.push(bytes.toString("utf8", start, end).trim());
    });
    assert.deepEqual(seen, [before?.["pid"]]);
    await transaction`SELECT 1`;
  });
  await assertUsable();
});

test("a connection that is cut in mid-stream is an error, and the pool connects anew", async () => {
  const copying = copyOut(sql, rowsOf(1_000_000, 1_000), () => delay(1));
  await eventually(async () => {
    const rows = await admin`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'pgsync copy test' AND state = 'active'`;
    assert.equal(rows.length, 1);
  });
  await assert.rejects(copying, { code: "57P01" });
  await assertUsable();
});

for (const end of ["cut", "abort"] as const) {
  test(`a call that is unfinished when the COPY ends before its time is awaited (${end})`, async () => {
    const stop = new AbortController();
    let open = false;
    let finished = false;
    const take = async () => {
      open = true;
      await delay(200);
      finished = true;
    };
    // The first row fills the server's buffer, and the second is long in coming.
    const slow =
      "COPY (SELECT repeat('x', 20000), pg_sleep(600 * (i - 1)) FROM generate_series(1, 2) AS i) TO STDOUT";
    const copying = copyOut(sql, slow, take, stop.signal);
    copying.catch(() => {});
    await eventually(() => open, { what: "the first row", interval: 1 });
    if (end === "abort") stop.abort(new Error("stopping"));
    else {
      await admin`
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'pgsync copy test' AND state = 'active'`;
    }
    await assert.rejects(copying, end === "abort" ? { message: "stopping" } : { code: "57P01" });
    assert.ok(finished);
    await assertUsable();
  });
}
