/**
 * pgsync inside a program of one's own: says what a run would do, loads an index, follows every change until told to
 * stop, and tells what happens.
 *
 * Try it: `deno run -A examples/library/main.ts postgres://user:password@localhost http://localhost:9200`
 */
import process from "node:process";
import {
  loadSchema,
  planRun,
  POSTGRES_DEFAULTS,
  RUN_DEFAULTS,
  type RunOptions,
  SEARCH_DEFAULTS,
  type SyncEvent,
  Synchronizer,
} from "../../mod.ts";

/** What the example needs to know. */
export interface ExampleSettings {
  /** `postgres://user:password@host:port`; the database stands in the schema file. */
  readonly postgres: string;
  /** `http://host:port` */
  readonly search: string;
  /** A path or URL. */
  readonly schema: string;
  /** Where the checkpoint file is kept. */
  readonly checkpointFolder: string;
}

/**
 * Follows the changes until the signal.
 *
 * @param say receives one line for each event worth telling
 */
export async function follow(
  settings: ExampleSettings,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const server = new URL(settings.postgres);
  const options: RunOptions = {
    ...RUN_DEFAULTS,
    schema: await loadSchema(settings.schema, { environment: process.env }),
    postgres: {
      ...POSTGRES_DEFAULTS,
      host: server.hostname,
      port: Number(server.port || POSTGRES_DEFAULTS.port),
      user: decodeURIComponent(server.username),
      password: server.password === "" ? null : decodeURIComponent(server.password),
    },
    search: { ...SEARCH_DEFAULTS, urls: [settings.search] },
    checkpointFolder: settings.checkpointFolder,
    bootstrap: true,
  };
  for (const database of (await planRun(options)).databases) {
    for (const statement of database.bootstrapSql) say(`will run ${statement}`);
  }
  const synchronizer = new Synchronizer(options, (event) => tell(event, say));
  await synchronizer.run({ signal, daemon: true });
}

function tell(event: SyncEvent, say: (line: string) => void): void {
  switch (event.type) {
    case "phase":
      return say(`now ${event.phase}`);
    case "bulk":
      return say(`${event.index}: ${event.indexed} written, ${event.deleted} deleted`);
    case "retry":
    case "fault":
      return say(`${event.fault.code}: ${event.fault.message}`);
    default:
      return;
  }
}

if (import.meta.main) {
  const [postgres = "postgres://postgres@localhost", search = "http://localhost:9200"] = process.argv.slice(
    2,
  );
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const settings = { postgres, search, schema: "examples/bookshop/schema.yaml", checkpointFolder: "." };
  await follow(settings, stop.signal, (line) => console.log(line));
}
