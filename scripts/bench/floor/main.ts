/**
 * What nobody can go below: PostgreSQL's COPY of the finished documents, posted to `_bulk`. PostgreSQL makes the whole text, action
 * lines included; this loop moves bytes. It keeps no position, no versions, and looks at no document. It knows neither TLS nor
 * passwords, and ends with the first error.
 *
 * Writes the same documents several times where that is wanted, and prints after each time how many milliseconds have passed
 * between its statement and the last acknowledgement.
 *
 * Usage: main.ts <PostgreSQL URL> <Elasticsearch URL> <index> <file with the document SQL> <bytes a request> <requests in flight> <times>
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { CopySession } from "./copy.ts";
import { BulkPoster } from "./post.ts";

const [postgresUrl, searchUrl, index, statementFile, bytesARequest, requestsInFlight, times] = process.argv
  .slice(2);
if (
  postgresUrl === undefined || searchUrl === undefined || index === undefined || statementFile === undefined
) {
  throw new Error("seven arguments are needed");
}
const documents = readFileSync(statementFile, "utf8");
const lines =
  `SELECT '{"index":{"_id":' || pg_catalog.to_json(id) || E'}}\\n' || document || E'\\n' FROM (${documents}) d`;
// As pgsync has it: compiling the statement costs more than it saves.
const session = await CopySession.open(new URL(postgresUrl), { jit: "off" });
const poster = new BulkPoster(`${searchUrl}/${index}/_bulk`, Number(bytesARequest), Number(requestsInFlight));
for (let time = 0; time < Number(times); time++) {
  const started = performance.now();
  await session.copy({
    statement: `COPY (${lines}) TO STDOUT (FORMAT binary)`,
    onValue: (bytes, start, end) => poster.add(bytes, start, end),
    pressure: () => poster.pressure(),
  });
  await poster.flush();
  console.log(performance.now() - started);
}
session.close();
poster.close();
process.exit(0);
