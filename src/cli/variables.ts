/**
 * Every environment variable that this program or PGSync knows, and what becomes of it here. What is known is also
 * what is taken from a `.env` file.
 */
import { PgsyncError } from "../errors/error.ts";

/** Variables by name. One that is set to nothing counts as not set. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Any one of them has documents read from a replica. */
export const REPLICA_VARIABLES = [
  "PG_URL_RO",
  "PG_HOST_RO",
  "PG_PORT_RO",
  "PG_USER_RO",
  "PG_PASSWORD_RO",
  "PG_SSLMODE_RO",
  "PG_SSLROOTCERT_RO",
] as const;

/** The variables that have an effect. */
export const USED_VARIABLES = [
  "SCHEMA",
  "SCHEMA_URL",
  "SCHEMA_URL_FILE",
  "CHECKPOINT_PATH",
  "NUM_WORKERS",
  "LOG_INTERVAL",
  "PG_URL",
  "PG_URL_FILE",
  "PG_HOST",
  "PG_PORT",
  "PG_USER",
  "PG_PASSWORD",
  "PG_PASSWORD_FILE",
  "PG_SSLMODE",
  "PG_SSLROOTCERT",
  "PGSSLMODE",
  "PGSSLROOTCERT",
  "PG_WORK_MEM",
  ...REPLICA_VARIABLES,
  "PG_URL_RO_FILE",
  "PG_PASSWORD_RO_FILE",
  "ELASTICSEARCH_URL",
  "ELASTICSEARCH_URL_FILE",
  "ELASTICSEARCH_CLOUD_ID",
  "ELASTICSEARCH_SCHEME",
  "ELASTICSEARCH_HOST",
  "ELASTICSEARCH_PORT",
  "ELASTICSEARCH_USER",
  "ELASTICSEARCH_PASSWORD",
  "ELASTICSEARCH_PASSWORD_FILE",
  "ELASTICSEARCH_API_KEY",
  "ELASTICSEARCH_API_KEY_FILE",
  "ELASTICSEARCH_API_KEY_ID",
  "ELASTICSEARCH_BASIC_AUTH",
  "ELASTICSEARCH_BASIC_AUTH_FILE",
  "ELASTICSEARCH_HTTP_AUTH",
  "ELASTICSEARCH_HTTP_AUTH_FILE",
  "ELASTICSEARCH_BEARER_AUTH",
  "ELASTICSEARCH_BEARER_AUTH_FILE",
  "ELASTICSEARCH_OPAQUE_ID",
  "ELASTICSEARCH_USE_SSL",
  "ELASTICSEARCH_VERIFY_CERTS",
  "ELASTICSEARCH_CA_CERTS",
  "ELASTICSEARCH_CLIENT_CERT",
  "ELASTICSEARCH_CLIENT_KEY",
  "ELASTICSEARCH_SSL_ASSERT_FINGERPRINT",
  "ELASTICSEARCH_HTTP_COMPRESS",
  "ELASTICSEARCH_TIMEOUT",
  "ELASTICSEARCH_CHUNK_SIZE",
  "ELASTICSEARCH_MAX_CHUNK_BYTES",
  "ELASTICSEARCH_THREAD_COUNT",
  "PGSYNC_DAEMON",
  "PGSYNC_BOOTSTRAP",
  "PGSYNC_SLOT",
  "PGSYNC_ON_SLOT_LOSS",
  "PGSYNC_STANDBY",
  "PGSYNC_LISTEN",
  "PGSYNC_LOG_FORMAT",
  "PGSYNC_VERBOSE",
  "PGSYNC_TIME_ZONE",
  "PGSYNC_MAX_MEMORY_MB",
  "PGSYNC_CATALOG_INTERVAL",
  "PGSYNC_WAL_WARNING_BYTES",
  "PGSYNC_VIEW_REFRESH_INTERVAL",
  "PGSYNC_MAX_DEAD_LETTERS",
  "PGSYNC_LOAD_CHUNK_ROWS",
  "PGSYNC_STATUS_URL",
  "PGSYNC_TOKEN",
  "PGSYNC_TOKEN_FILE",
] as const;

/** The name of a variable that has an effect. */
export type UsedVariable = typeof USED_VARIABLES[number];

/** PGSync's variables that need nothing here, and why. `*` at the end stands for any rest of the name. */
const NEEDLESS: readonly { readonly names: readonly string[]; readonly why: string }[] = [
  { names: ["PGSYNC_BUFFER_BYTES"], why: "PGSYNC_MAX_MEMORY_MB bounds all buffers together" },
  { names: ["REDIS_*"], why: "there is no Redis here; the state is in the checkpoint file" },
  {
    names: ["OPENSEARCH", "ELASTICSEARCH"],
    why: "which search engine it is, is found by asking the server",
  },
  { names: ["WAL"], why: "changes are always read from the WAL" },
  { names: ["PG_DATABASE", "PG_DATABASE_RO"], why: "each document of the schema file names its database" },
  {
    names: ["POLL_INTERVAL", "POLL_TIMEOUT"],
    why: "nothing is polled; PostgreSQL sends changes as they are committed",
  },
  {
    names: ["REPLICATION_SLOT_CLEANUP_INTERVAL"],
    why: "the slot moves on with each batch that is acknowledged",
  },
  {
    names: ["QUERY_CHUNK_SIZE", "FILTER_CHUNK_SIZE", "LOGICAL_SLOT_CHUNK_SIZE", "BLOCK_SIZE"],
    why: "batches are sized by their bytes",
  },
  {
    names: [
      "USE_ASYNC",
      "JOIN_QUERIES",
      "STREAM_RESULTS",
      "QUERY_LITERAL_BINDS",
      "FORMAT_WITH_COMMAS",
      "SQLALCHEMY_*",
      "NTHREADS_POLLDB",
      "MYSQL_DATABASE",
      "USE_UTF8MB4",
    ],
    why: "it sets inner workings of PGSync that do not exist here",
  },
  {
    names: [
      "ELASTICSEARCH_STREAMING_BULK",
      "ELASTICSEARCH_QUEUE_SIZE",
      "ELASTICSEARCH_POOL_MAXSIZE",
    ],
    why: "bulk requests are always streamed; ELASTICSEARCH_THREAD_COUNT sets how many run at once",
  },
  {
    names: ["ELASTICSEARCH_MAX_RETRIES", "ELASTICSEARCH_INITIAL_BACKOFF", "ELASTICSEARCH_MAX_BACKOFF"],
    why: "temporary errors are retried for ever, with growing pauses",
  },
  {
    names: [
      "ELASTICSEARCH_RAISE_ON_ERROR",
      "ELASTICSEARCH_RAISE_ON_EXCEPTION",
      "ELASTICSEARCH_IGNORE_STATUS",
    ],
    why: "a document that is refused goes to the dead letters, and the rest goes on",
  },
  {
    names: ["ELASTICSEARCH_SSL_SHOW_WARN", "ELASTICSEARCH_SSL_VERSION", "ELASTICSEARCH_SSL_CONTEXT"],
    why: "TLS is the runtime's own (1.2 and newer)",
  },
  {
    names: [
      "CONSOLE_LOGGING_HANDLER_MIN_LEVEL",
      "GENERAL_LOGGING_LEVEL",
      "LOG_HANDLERS",
      "CUSTOM_LOGGING",
    ],
    why: "the log goes to stderr; --verbose and --log-format set what it holds",
  },
];

/** PGSync's variables whose wish this version cannot fulfil. A value that says "no" wishes nothing. */
const UNSUPPORTED: readonly {
  readonly names: readonly string[];
  readonly what: string;
  readonly remedy: string;
}[] = [
  { names: ["POLLING"], what: "Polling", remedy: "Unset it: changes are streamed as they are committed." },
  {
    names: ["REDIS_CHECKPOINT"],
    what: "A checkpoint in Redis",
    remedy: "Unset it; the checkpoint is a file (CHECKPOINT_PATH).",
  },
  {
    names: ["S3_SCHEMA_URL"],
    what: "Reading the schema file from S3",
    remedy: "Use a path (SCHEMA) or an http(s) URL (SCHEMA_URL), for instance a presigned one.",
  },
  {
    names: [
      "ELASTICSEARCH_AWS_HOSTED",
      "OPENSEARCH_AWS_HOSTED",
      "OPENSEARCH_AWS_SERVERLESS",
      "ELASTICSEARCH_AWS_REGION",
    ],
    what: "Signing requests for AWS",
    remedy: "Use a domain with user and password (fine-grained access control), and unset the variable.",
  },
  {
    names: ["ELASTICSEARCH_SSL_ASSERT_HOSTNAME"],
    what: "Checking the certificate against another host name",
    remedy: "Unset it, and use the name that stands in the certificate.",
  },
];

/** True where the variable is one of ours or PGSync's. */
export function isKnownVariable(name: string): boolean {
  return USED_VARIABLES.some((used) => used === name) || name === "PG_DRIVER" ||
    [...NEEDLESS, ...UNSUPPORTED].some(({ names }) => names.some((pattern) => matches(pattern, name)));
}

/**
 * Judges the variables that have no effect here.
 *
 * @returns one sentence for each reason why variables are not needed
 * @throws PgsyncError USAGE where a variable asks for something that this version does not do
 */
export function judgeVariables(environment: Environment): string[] {
  const set = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [{ name, value }]
  );
  for (const { name, value } of set) {
    const wish = UNSUPPORTED.find(({ names }) => names.includes(name));
    if (wish !== undefined && !saysNo(value)) {
      throw new PgsyncError("USAGE", `${wish.what} is not in this version, but ${name} is set.`, {
        remedy: wish.remedy,
      });
    }
    if (name === "PG_DRIVER" && /mysql|maria/i.test(value)) {
      throw new PgsyncError("USAGE", `${name} asks for MySQL or MariaDB, which this version does not read.`, {
        remedy: "Use PostgreSQL, and unset PG_DRIVER.",
      });
    }
  }
  return NEEDLESS.flatMap(({ names, why }) => {
    const found = set.filter(({ name }) =>
      names.some((pattern) => matches(pattern, name)) &&
      !UNSUPPORTED.some(({ names }) => names.includes(name))
    );
    return found.length === 0 ? [] : [`${found.map(({ name }) => name).join(", ")}: not needed, ${why}`];
  });
}

function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function saysNo(value: string): boolean {
  return ["false", "f", "no", "n", "off", "0"].includes(value.trim().toLowerCase());
}
