/**
 * What nobody can go below: PostgreSQL's COPY of the finished documents, posted to `_bulk`. PostgreSQL makes the whole text, action
 * lines included; this loop moves bytes. It keeps no position, no versions, and looks at no document. It knows neither TLS nor
 * passwords, and ends with the first error.
 *
 * Prints how many milliseconds have passed from the connecting until the last acknowledgement.
 *
 * Usage: main.ts <PostgreSQL URL> <Elasticsearch URL> <index> <file with the document SQL> <bytes a request> <requests in flight>
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { copy } from "./copy.ts";
import { BulkPoster } from "./post.ts";

const [postgresUrl, searchUrl, index, statementFile, bytesARequest, requestsInFlight] = process.argv.slice(2);
if (
  postgresUrl === undefined || searchUrl === undefined || index === undefined || statementFile === undefined
) {
  throw new Error("six arguments are needed");
}
const documents = readFileSync(statementFile, "utf8");
const lines =
  `SELECT '{"index":{"_id":' || pg_catalog.to_json(id) || E'}}\\n' || document || E'\\n' FROM (${documents}) d`;
const started = performance.now();
const poster = new BulkPoster(`${searchUrl}/${index}/_bulk`, Number(bytesARequest), Number(requestsInFlight));
await copy({
  url: new URL(postgresUrl),
  // As pgsync has it: compiling the statement costs more than it saves.
  settings: { jit: "off" },
  statement: `COPY (${lines}) TO STDOUT (FORMAT binary)`,
  onValue: (bytes, start, end) => poster.add(bytes, start, end),
  pressure: () => poster.pressure(),
});
await poster.end();
console.log(performance.now() - started);
process.exit(0);
