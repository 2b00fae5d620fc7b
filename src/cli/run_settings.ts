/** The settings of a run, from flags and variables; pure, so that every rule can be tested as a table. */
import { PgsyncError } from "../errors/error.ts";
import { LEAST_BUDGET } from "../memory/budget.ts";
import { RUN_DEFAULTS, type RunOptions } from "../sync/options.ts";
import type { Flags } from "./flags.ts";
import { postgresOptions } from "./postgres_settings.ts";
import { replicaOptions } from "./replica_settings.ts";
import { searchOptions } from "./search_settings.ts";
import { searchWarnings } from "./secret_warnings.ts";
import { choice, given, matching, seconds, textOf, wholeNumber, yesOrNo } from "./values.ts";
import { type Environment, judgeVariables } from "./variables.ts";

const MEBIBYTE = 1024 ** 2;

/** A run's settings without the schema file, which has to be read first. */
export interface RunSettings {
  readonly options: Omit<RunOptions, "schema">;
  /** Things that were asked for and have no effect, one sentence each. */
  readonly notes: readonly string[];
  /** Dangers that the settings bring, one sentence each. */
  readonly warnings: readonly string[];
}

/**
 * Makes the settings of a run.
 *
 * @param password what was typed at the prompt of `--password`, or null
 * @throws PgsyncError USAGE that names the flag or variable
 */
export function runSettings(
  flags: Flags,
  environment: Environment,
  password: string | null = null,
): RunSettings {
  refuseUnsupportedFlags(flags);
  const notes = [...needlessFlags(flags), ...judgeVariables(environment)];
  const warnings: string[] = [];
  const postgres = postgresOptions(flags, environment, password, notes, warnings);
  const search = searchOptions(environment);
  warnings.push(...searchWarnings(search));

  const slot = given(environment, "PGSYNC_SLOT", { name: "--slot", value: flags.slot });
  const onSlotLoss = given(environment, "PGSYNC_ON_SLOT_LOSS", {
    name: "--on-slot-loss",
    value: flags.onSlotLoss,
  });
  const workers = given(environment, "NUM_WORKERS", { name: "--num-workers", value: flags.numWorkers });
  const chunkRows = given(environment, "PGSYNC_LOAD_CHUNK_ROWS");
  const bulkBytes = given(environment, "ELASTICSEARCH_MAX_CHUNK_BYTES");
  const bulkDocuments = given(environment, "ELASTICSEARCH_CHUNK_SIZE");
  const bulkConcurrency = given(environment, "ELASTICSEARCH_THREAD_COUNT");
  const maxMemory = given(environment, "PGSYNC_MAX_MEMORY_MB", {
    name: "--max-memory-mb",
    value: flags.maxMemoryMb,
  });
  const viewRefresh = given(environment, "PGSYNC_VIEW_REFRESH_INTERVAL", {
    name: "--view-refresh",
    value: flags.viewRefresh,
  });
  const maxDeadLetters = given(environment, "PGSYNC_MAX_DEAD_LETTERS", {
    name: "--max-dead-letters",
    value: flags.maxDeadLetters,
  });
  const catalogInterval = given(environment, "PGSYNC_CATALOG_INTERVAL");
  const walWarning = given(environment, "PGSYNC_WAL_WARNING_BYTES");
  const options: Omit<RunOptions, "schema"> = {
    postgres,
    postgresReplica: replicaOptions(flags, environment, postgres, notes, warnings),
    search,
    // https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS-MANIPULATION
    slot: slot === null
      ? RUN_DEFAULTS.slot
      : matching(slot, /^[a-z0-9_]{1,63}$/, "must be 1 to 63 lower-case letters, digits or underscores"),
    checkpointFolder: flags.checkpoint ?? textOf(environment, "CHECKPOINT_PATH") ??
      RUN_DEFAULTS.checkpointFolder,
    bootstrap: switchedOn(environment, "PGSYNC_BOOTSTRAP", flags.bootstrap),
    onSlotLoss: onSlotLoss === null ? RUN_DEFAULTS.onSlotLoss : choice(onSlotLoss, ["halt", "resync"]),
    standby: switchedOn(environment, "PGSYNC_STANDBY", flags.standby),
    loadWorkers: workers === null ? RUN_DEFAULTS.loadWorkers : wholeNumber(workers, 1, 64),
    loadChunkRows: chunkRows === null ? RUN_DEFAULTS.loadChunkRows : wholeNumber(chunkRows, 100, 10_000_000),
    bulkBytes: bulkBytes === null ? RUN_DEFAULTS.bulkBytes : wholeNumber(bulkBytes, 1024, 1024 ** 3),
    bulkDocuments: bulkDocuments === null
      ? RUN_DEFAULTS.bulkDocuments
      : wholeNumber(bulkDocuments, 1, 1_000_000),
    bulkConcurrency: bulkConcurrency === null
      ? RUN_DEFAULTS.bulkConcurrency
      : wholeNumber(bulkConcurrency, 1, 64),
    maxMemoryBytes: maxMemory === null
      ? RUN_DEFAULTS.maxMemoryBytes
      : MEBIBYTE * wholeNumber(maxMemory, LEAST_BUDGET / MEBIBYTE, 1024 ** 2),
    viewRefreshSeconds: viewRefresh === null
      ? RUN_DEFAULTS.viewRefreshSeconds
      : wholeNumber(viewRefresh, 0, 86_400),
    maxDeadLetters: maxDeadLetters === null
      ? RUN_DEFAULTS.maxDeadLetters
      : wholeNumber(maxDeadLetters, 0, Number.MAX_SAFE_INTEGER),
    catalogIntervalMs: catalogInterval === null
      ? RUN_DEFAULTS.catalogIntervalMs
      : seconds(catalogInterval, 86_400) * 1000,
    walWarningBytes: walWarning === null
      ? RUN_DEFAULTS.walWarningBytes
      : wholeNumber(walWarning, 0, 1024 ** 5),
  };
  return { options, notes, warnings };
}

/** A switch that a flag or a variable turns on. @throws PgsyncError USAGE */
export function switchedOn(
  environment: Environment,
  variable: "PGSYNC_DAEMON" | "PGSYNC_BOOTSTRAP" | "PGSYNC_STANDBY" | "PGSYNC_VERBOSE",
  flag: boolean | undefined,
): boolean {
  if (flag !== undefined) return flag;
  const variableGiven = given(environment, variable);
  return variableGiven !== null && yesOrNo(variableGiven);
}

/** Seconds between two lines of progress where there is no terminal. @throws PgsyncError USAGE */
export function logInterval(environment: Environment): number {
  const interval = given(environment, "LOG_INTERVAL");
  return interval === null ? 10 : seconds(interval, 86_400);
}

/**
 * Where the schema file is: a path (`-` is standard input) or an http(s) URL.
 *
 * @throws PgsyncError USAGE where none is given, or two are
 */
export function schemaSource(flags: Flags, environment: Environment): string {
  refuseUnsupportedFlags(flags);
  const fromFlags = [flags.config, flags.schemaUrl].filter((source) => source !== undefined);
  const fromVariables = [textOf(environment, "SCHEMA"), textOf(environment, "SCHEMA_URL")]
    .filter((source) => source !== null);
  const sources = fromFlags.length > 0 ? fromFlags : fromVariables;
  const [source] = sources;
  if (source === undefined) {
    throw new PgsyncError("USAGE", "No schema file is named.", {
      remedy: "Name it with --config (or SCHEMA), or --schema-url (or SCHEMA_URL).",
    });
  }
  if (sources.length > 1) {
    const names = fromFlags.length > 0 ? "--config and --schema-url" : "SCHEMA and SCHEMA_URL";
    throw new PgsyncError("USAGE", `${names} are both given, but there is only one schema file.`, {
      remedy: "Leave one of them out.",
    });
  }
  return source;
}

function refuseUnsupportedFlags(flags: Flags): void {
  if (flags.polling === true) {
    throw new PgsyncError("USAGE", "Polling is not in this version.", {
      remedy: "Leave --polling out: changes are streamed as they are committed.",
    });
  }
  if (flags.analyze === true) {
    throw new PgsyncError("USAGE", "There is no --analyze.", {
      remedy: "`pgsync plan` names the missing indexes.",
    });
  }
  if (flags.s3SchemaUrl !== undefined) {
    throw new PgsyncError("USAGE", "Reading the schema file from S3 is not in this version.", {
      remedy: "Use --config or --schema-url, for instance with a presigned URL.",
    });
  }
}

function needlessFlags(flags: Flags): string[] {
  const notes: string[] = [];
  if (flags.wal === true) notes.push("--wal: not needed, changes are always read from the WAL");
  const halves = [
    flags.producer === true ? "--producer" : null,
    flags.consumer === true ? "--consumer" : null,
  ]
    .filter((name) => name !== null);
  if (halves.length > 0) {
    notes.push(
      `${halves.join(", ")}: not needed, there is no queue between two halves; this process does both`,
    );
  }
  return notes;
}
