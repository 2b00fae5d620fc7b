/**
 * A COPY that the server refuses within what it sends at once, read by a client that was busy meanwhile, so that its beginning and its end
 * arrive together. Prints the code of the error, and whether the connection can be used afterwards.
 *
 * Usage: early_copy_error.ts <PostgreSQL URL>
 */
import process from "node:process";
import { connectPostgres } from "../../src/postgres/connect.ts";
import { copyOut } from "../../src/postgres/copy.ts";
import { optionsOf } from "../postgres/options.ts";

/** Longer than postgres.js puts off to write. */
const STATEMENT = `COPY (SELECT 1 / (2 - i) FROM generate_series(1, 2) AS i) TO STDOUT --${
  "-".repeat(2_000)
}`;
const BUSY_MS = 300;

const [url = ""] = process.argv.slice(2);
const sql = connectPostgres(optionsOf(url), {
  ...{ database: "postgres", purpose: "early error", max: 1, kind: "builder" },
});
const session = await sql.reserve();
const rows: string[] = [];
const copying = copyOut(session, STATEMENT, (bytes, start, end) => {
  rows.push(bytes.toString("utf8", start, end).trim());
});
copying.catch(() => {});
// Until it is sent, and no longer.
for (let turn = 0; turn < 20; turn++) await Promise.resolve();
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS);
const error: unknown = await copying.then(() => null, (thrown: unknown) => thrown);
const [after] = await session.unsafe("SELECT 'usable' AS state");
console.log(JSON.stringify([rows, Reflect.get(Object(error), "code"), after?.["state"]]));
session.release();
await sql.end({ timeout: 1 });
