/**
 * The options that commands share. Each says in its help which variable sets it as well; the values are read and
 * checked in run_settings.ts, so that a variable from a `.env` file is treated as one from the environment.
 */
import { Option } from "@commander-js/extra-typings";

function described(what: string, variable: string): string {
  return `${what} (env: ${variable})`;
}

/** Where the schema file is. */
export const config = new Option(
  "-c, --config <file>",
  described("schema file, JSON or YAML; - is standard input", "SCHEMA"),
);
export const schemaUrl = new Option(
  "--schema-url <url>",
  described("schema file at an http(s) URL", "SCHEMA_URL"),
);
export const s3SchemaUrl = new Option("--s3-schema-url <url>").hideHelp();

/** How PostgreSQL is reached. */
export const host = new Option(
  "-h, --host <host>",
  described("PostgreSQL host, or folder of its socket", "PG_HOST or PG_URL"),
);
export const port = new Option("-p, --port <port>", described("PostgreSQL port", "PG_PORT or PG_URL"));
export const user = new Option("-u, --user <user>", described("PostgreSQL user", "PG_USER or PG_URL"));
export const password = new Option(
  "--password",
  described("ask for the PostgreSQL password on the terminal", "PG_PASSWORD or PG_URL"),
);
export const sslmode = new Option(
  "--sslmode <mode>",
  described("disable, allow, prefer, require, verify-ca or verify-full", "PG_SSLMODE or PG_URL"),
);
export const sslrootcert = new Option(
  "--sslrootcert <file>",
  described("certificate authorities to trust, PEM", "PG_SSLROOTCERT or PG_URL"),
);
export const replicaHost = new Option(
  "--replica-host <host>",
  described("read documents from this hot standby", "PG_HOST_RO or PG_URL_RO"),
);
export const replicaPort = new Option(
  "--replica-port <port>",
  described("its port; that of the primary", "PG_PORT_RO or PG_URL_RO"),
);
export const timeZone = new Option(
  "--time-zone <name>",
  described("time zone of timestamps in documents; UTC", "PGSYNC_TIME_ZONE"),
);

/** What a run keeps and uses. */
export const slot = new Option(
  "--slot <name>",
  described("replication slot and publication; pgsync_<database>", "PGSYNC_SLOT"),
);
export const checkpoint = new Option(
  "--checkpoint <folder>",
  described("folder of the checkpoint files; the working directory", "CHECKPOINT_PATH"),
);
export const numWorkers = new Option(
  "-n, --num-workers <count>",
  described("parallel readers of the initial load; 2", "NUM_WORKERS"),
);

export const viewRefresh = new Option(
  "--view-refresh <seconds>",
  described("refresh materialised views that often, 0 never; 300", "PGSYNC_VIEW_REFRESH_INTERVAL"),
);

export const maxDeadLetters = new Option(
  "--max-dead-letters <count>",
  described("with more refused documents the run is not ready, 0 never; 10000", "PGSYNC_MAX_DEAD_LETTERS"),
);

export const maxMemoryMb = new Option(
  "--max-memory-mb <count>",
  described("MiB that all buffers together may take, at least 4; 64", "PGSYNC_MAX_MEMORY_MB"),
);

/** How a run goes. */
export const daemon = new Option(
  "-d, --daemon",
  described("go on streaming changes until SIGTERM", "PGSYNC_DAEMON"),
);
export const bootstrap = new Option(
  "-b, --bootstrap",
  described("first make what is missing: publication, slot, index", "PGSYNC_BOOTSTRAP"),
);
export const onSlotLoss = new Option(
  "--on-slot-loss <what>",
  described(
    "changes are lost: halt, or resync (load anew in place); halt, with -b resync",
    "PGSYNC_ON_SLOT_LOSS",
  ),
);
export const standby = new Option(
  "--standby",
  described(
    "stand by while another process follows the slot, and take over when it is gone",
    "PGSYNC_STANDBY",
  ),
);
export const listen = new Option(
  "--listen <host:port>",
  described("address of the status server, or off; 127.0.0.1:9399", "PGSYNC_LISTEN"),
);

/** What is said. */
export const logFormat = new Option(
  "--log-format <format>",
  described("text or json, on stderr", "PGSYNC_LOG_FORMAT"),
);
export const verbose = new Option(
  "-v, --verbose",
  described("log more; errors with stack traces", "PGSYNC_VERBOSE"),
);
export const envFile = new Option(
  "--env-file <file>",
  described("variables from this file instead of .env", "PGSYNC_ENV_FILE"),
);
export const noEnvFile = new Option("--no-env-file", described("do not read .env", "PGSYNC_ENV_FILE=off"));

/** PGSync's options that have no effect, or are refused with a sentence. */
export const wal = new Option("-w, --wal").hideHelp();
export const producer = new Option("--producer").hideHelp();
export const consumer = new Option("--consumer").hideHelp();
export const polling = new Option("--polling").hideHelp();
export const analyze = new Option("-a, --analyze").hideHelp();
