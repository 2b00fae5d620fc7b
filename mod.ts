/**
 * pgsync as a library: what the command line is made of. It keeps Elasticsearch or OpenSearch documents equal to
 * PostgreSQL, by logical replication.
 *
 * @example Load a schema file, and keep its index equal until told to stop
 * ```ts ignore
 * import { loadSchema, POSTGRES_DEFAULTS, RUN_DEFAULTS, SEARCH_DEFAULTS, Synchronizer } from "./mod.ts";
 *
 * const synchronizer = new Synchronizer({
 *   ...RUN_DEFAULTS,
 *   schema: await loadSchema("schema.yaml", { environment: {} }),
 *   postgres: { ...POSTGRES_DEFAULTS, user: "shop", password: "secret" },
 *   search: { ...SEARCH_DEFAULTS, urls: ["http://localhost:9200"] },
 *   bootstrap: true,
 * }, (event) => console.log(event.type));
 *
 * const stop = new AbortController();
 * await synchronizer.run({ signal: stop.signal, daemon: true });
 * ```
 *
 * @module
 */
export { type ErrorCode, type ErrorDefinition, ERRORS, EXIT, type NextStep } from "./src/errors/codes.ts";
export { type ErrorDetails, PgsyncError, toPgsyncError } from "./src/errors/error.ts";

export { type LoadOptions, loadSchema } from "./src/schema/load.ts";
export { parseSchema } from "./src/schema/parse.ts";
export type { Environment } from "./src/schema/environment.ts";
export type {
  DocumentSchema,
  JsonObject,
  JsonValue,
  NodeSchema,
  Place,
  QualifiedName,
  Relationship,
  SchemaFile,
  SchemaWarning,
  Transform,
} from "./src/schema/tree.ts";

export { POSTGRES_DEFAULTS, type PostgresOptions, type SslMode } from "./src/postgres/options.ts";
export { SEARCH_DEFAULTS, type SearchLogin, type SearchOptions } from "./src/search/options.ts";

export type { DeadLetter, RefusedDocument } from "./src/checkpoint/types.ts";
export type {
  DeadLetterAccess,
  DeadLetterCursor,
  DeadLetterPage,
  DeadLetterQuery,
  DeadLetterSelection,
  RetriedDeadLetters,
} from "./src/sync/dead_letters/dead_letters.ts";
export { bootstrap, type Report, teardown } from "./src/sync/setup/bootstrap.ts";
export { type OnSlotLoss, RUN_DEFAULTS, type RunOptions } from "./src/sync/options.ts";
export type {
  DatabasePlan,
  IndexPlan,
  MissingIndex,
  NodePlanSummary,
  ReplicaIdentityNeed,
  RunPlan,
  ViewPlan,
} from "./src/sync/setup/plan.ts";
export { planRun } from "./src/sync/setup/plan_run.ts";
export { preview, type PreviewDocument } from "./src/sync/preview.ts";
export type {
  Fault,
  IndexStatus,
  LoadStatus,
  MemoryStatus,
  Phase,
  RunStatus,
  StreamStatus,
  SyncEvent,
  SyncObserver,
  SyncStatus,
} from "./src/status/status.ts";
export { takeOver } from "./src/sync/standby/take_over_run.ts";
export { type RunControl, Synchronizer } from "./src/sync/synchronizer.ts";
export { VERIFY_DEFAULTS, type VerifyOptions } from "./src/verify/verification.ts";
export type { IndexVerification, VerifiedDifference, VerifyProgress } from "./src/verify/verification.ts";
export type { ComparisonScope } from "./src/verify/differences.ts";
export type { ValueDifference } from "./src/verify/value_differences.ts";
export { verify } from "./src/sync/verify_run.ts";
export type { ServerFacts } from "./src/catalog/types.ts";
export { formatLsn, type Lsn, parseLsn } from "./src/replication/lsn.ts";
export { VERSION } from "./src/version.ts";
