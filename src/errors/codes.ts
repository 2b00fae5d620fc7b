/**
 * Every error that an operator can meet, by its stable code. The code is part of the product's interface:
 * scripts and alerts may rely on it, so a code is never reused for another meaning.
 */

/** What the program does after the error: try again by itself, stop, or stop until the data is loaded anew. */
export type NextStep = "retry" | "halt" | "resync";

/** What is said of an error code in `docs/errors.md` and behind each message. */
export interface ErrorDefinition {
  /** What happened, in one sentence, for the list of all errors. */
  readonly meaning: string;
  /** What the operator can do. A more exact remedy may be given where the error is raised. */
  readonly remedy: string;
  /** What the program does after the error. */
  readonly next: NextStep;
  /** What a run does after it that has been connected already, where that is something else. */
  readonly onceConnected?: NextStep;
  /** The exit code of the command that ends with this error (docs/cli.md lists them). */
  readonly exitCode: number;
}

/** Exit codes of the command line. */
export const EXIT = {
  ok: 0,
  /** Something was compared and found different, or checked and found wrong. */
  difference: 1,
  /** The command line or the schema file is wrong. */
  usage: 2,
  /** A server could not be reached, or refused the login. */
  connection: 3,
  /** PostgreSQL or the search engine is not set up as it must be. */
  setup: 4,
  /** The run halted: going on could lose changes. */
  halted: 5,
  /** A fault in pgsync itself. */
  internal: 70,
} as const;

/** All error codes, in the order in which a run can meet them. */
export const ERRORS = {
  USAGE: {
    meaning: "The command line or an environment variable has a value that is not allowed.",
    remedy: "Correct the option or variable that is named; `pgsync --help` lists them all.",
    next: "halt",
    exitCode: EXIT.usage,
  },
  SCHEMA_UNREADABLE: {
    meaning: "The schema file could not be read.",
    remedy: "Check the path or URL given with --config or --schema-url.",
    next: "halt",
    exitCode: EXIT.usage,
  },
  SCHEMA_INVALID: {
    meaning: "The schema file is not valid.",
    remedy: "Correct the places that are named.",
    next: "halt",
    exitCode: EXIT.usage,
  },
  SCHEMA_UNSUPPORTED: {
    meaning: "The schema file asks for something that this version does not carry out.",
    remedy: "Remove what is named, or use a version that carries it out.",
    next: "halt",
    exitCode: EXIT.usage,
  },
  POSTGRES_UNREACHABLE: {
    meaning: "PostgreSQL did not answer.",
    remedy: "Check that the server runs and that host and port are right (PG_URL, or PG_HOST and PG_PORT).",
    next: "retry",
    exitCode: EXIT.connection,
  },
  POSTGRES_LOGIN: {
    meaning: "PostgreSQL refused the login.",
    remedy: "Check user, password and database (PG_URL, or PG_USER and PG_PASSWORD), and pg_hba.conf.",
    next: "halt",
    // A password was changed, or a database renamed, and may be set back.
    onceConnected: "retry",
    exitCode: EXIT.connection,
  },
  POSTGRES_BUSY: {
    meaning:
      "PostgreSQL could not carry out a statement at this moment: a lock, a conflict, or a lack of resources.",
    remedy:
      "None needed: it is tried again. (A start that ends with it is to be made again.) If it lasts, look at the server's locks, " +
      "connections and disk.",
    next: "retry",
    exitCode: EXIT.connection,
  },
  POSTGRES_QUERY: {
    meaning: "PostgreSQL refused a statement.",
    remedy: "Read the server's message; `pgsync plan` shows the statements.",
    next: "halt",
    exitCode: EXIT.halted,
  },
  POSTGRES_VERSION: {
    meaning: "The PostgreSQL server is older than this program supports.",
    remedy: "Use PostgreSQL 13 or newer.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  STANDBY: {
    meaning: "The server is a standby, which takes no publication and no heartbeat.",
    remedy: "Connect to the primary (PG_URL); documents may be read from a standby (PG_URL_RO).",
    next: "halt",
    exitCode: EXIT.setup,
  },
  REPLICA_UNFIT: {
    meaning: "The server from which documents are to be read is no standby of the primary.",
    remedy:
      "Name a standby of the server in PG_URL with PG_URL_RO, or unset it and its parts: the documents are then read " +
      "from the primary.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  REPLICA_BEHIND: {
    meaning:
      "The standby from which documents are read has not replayed the changes that they are built for.",
    remedy:
      "None needed: it is waited for. If it lasts, look whether the standby is connected to the primary and its replay " +
      "is paused (pg_is_wal_replay_paused) or held up by long queries (max_standby_streaming_delay).",
    next: "retry",
    exitCode: EXIT.connection,
  },
  WAL_LEVEL: {
    meaning: "wal_level is not logical, so PostgreSQL cannot stream changes.",
    remedy: "ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  SLOTS_EXHAUSTED: {
    meaning: "PostgreSQL has no free replication slot or walsender.",
    remedy: "Raise max_replication_slots and max_wal_senders, or drop slots that nobody uses.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  TABLE_MISSING: {
    meaning: "A table that the schema file names does not exist.",
    remedy: "Correct the name, or create the table.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  COLUMN_MISSING: {
    meaning: "A column that the schema file names does not exist.",
    remedy: "Correct the name, or add the column.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  PRIMARY_KEY_MISSING: {
    meaning: "A table has no primary key, and its rows cannot be told apart without one.",
    remedy: "Add a primary key to the table.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  FOREIGN_KEY_MISSING: {
    meaning: "No foreign key joins a node to its parent.",
    remedy: "Add a foreign key, or write relationship.foreign_key in the schema file.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  FOREIGN_KEY_AMBIGUOUS: {
    meaning: "More than one foreign key could join a node to its parent.",
    remedy: "Say which one is meant with relationship.foreign_key in the schema file.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  PRIVILEGE_MISSING: {
    meaning: "The PostgreSQL role lacks a privilege.",
    remedy:
      "Have the owner run the SQL that is shown. (Tables with row-level security need a role with BYPASSRLS: hidden rows would look deleted.)",
    next: "halt",
    exitCode: EXIT.setup,
  },
  REPLICA_IDENTITY: {
    meaning: "A table's replica identity does not carry the columns that link its rows to a document.",
    remedy: "Run `pgsync bootstrap` as the owner of the table, or have the owner run the SQL that is shown.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  PUBLICATION_MISSING: {
    meaning: "The publication does not exist, or does not hold all the tables that the schema file names.",
    remedy: "Run `pgsync bootstrap`, or start with --bootstrap.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  SLOT_MISSING: {
    meaning: "The replication slot does not exist.",
    remedy:
      "Start with --bootstrap, or with --on-slot-loss resync: a slot is made, and the documents are loaded anew in place.",
    next: "resync",
    exitCode: EXIT.setup,
  },
  SLOT_ACTIVE: {
    meaning: "The replication slot is in use by another process.",
    remedy: "Stop the other process; two may not follow one slot.",
    next: "retry",
    exitCode: EXIT.setup,
  },
  SLOT_LOST: {
    meaning: "PostgreSQL has removed WAL that the replication slot still needed.",
    remedy:
      "Start with --bootstrap, or with --on-slot-loss resync: a new slot is made, and the documents are loaded anew in place. " +
      "Raise max_slot_wal_keep_size.",
    next: "resync",
    exitCode: EXIT.halted,
  },
  DECODING_ERROR: {
    meaning: "PostgreSQL failed to decode its WAL for the replication slot.",
    remedy: "It is tried again; where it fails for good, that is told.",
    next: "retry",
    exitCode: EXIT.connection,
  },
  DECODING_FAILED: {
    meaning: "PostgreSQL fails again and again at the same place to decode its WAL for the replication slot.",
    remedy:
      "Start with --bootstrap, or with --on-slot-loss resync: a new slot is made, and the documents are loaded anew in place. " +
      "Look for an update of PostgreSQL.",
    next: "resync",
    exitCode: EXIT.halted,
  },
  SLOT_MISMATCH: {
    meaning: "The replication slot does not belong to this database or uses another output plugin.",
    remedy: "Choose another name with --slot.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  SERVER_CHANGED: {
    meaning:
      "Another server answers than the one that was followed: a standby was promoted, an older state was restored, or it is another cluster.",
    remedy:
      "None needed where a standby was promoted, or an older state restored that has written beyond the position: all sessions are opened anew, and the " +
      "documents are compared. A start that ends with it is to be made again.",
    next: "retry",
    exitCode: EXIT.connection,
  },
  HISTORY_DIVERGED: {
    meaning:
      "The server's WAL does not hold the position: an older state of it was restored, or a standby was promoted that lacked " +
      "changes.",
    remedy:
      "Start with --bootstrap, or with --on-slot-loss resync: a new slot is made, and the documents are loaded anew in place. " +
      "They then show what the server holds now: what it has lost goes from the index, too.",
    next: "resync",
    exitCode: EXIT.halted,
  },
  REPLICATION_PROTOCOL: {
    meaning: "The replication stream carried something that this program does not understand.",
    remedy: "Report it with the server's version; nothing was lost, the position has not moved.",
    next: "halt",
    exitCode: EXIT.halted,
  },
  OLD_VALUE_MISSING: {
    meaning:
      "A change arrived without the old value of a link column, so the documents it left cannot be found.",
    remedy:
      "Start with --bootstrap, or with --on-slot-loss resync: the replica identity is set, a new slot is made, and the documents " +
      "are loaded anew in place.",
    next: "resync",
    exitCode: EXIT.halted,
  },
  SOURCE_CHANGED: {
    meaning: "A table was changed so that the schema file no longer fits it.",
    remedy: "Mend the schema file or the table, then start again.",
    next: "halt",
    exitCode: EXIT.halted,
  },
  CHECKPOINT_LOCKED: {
    meaning: "Another process holds the checkpoint file.",
    remedy: "Stop the other process, or use another file (--checkpoint).",
    next: "halt",
    exitCode: EXIT.setup,
  },
  CHECKPOINT_UNUSABLE: {
    meaning: "The checkpoint file cannot be read or written.",
    remedy:
      "Check the folder's rights and free space; a damaged file may be moved away, the slot's position then serves.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  CHECKPOINT_FOREIGN: {
    meaning: "The checkpoint file was written for another server, database or slot.",
    remedy:
      "Use the file that belongs to this run (--checkpoint); if there is none, move this one away: the slot's position then serves. Where " +
      "the server was replaced (pg_upgrade, a dump restored), start anew with `pgsync teardown` and --bootstrap.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  CHECKPOINT_BEHIND: {
    meaning:
      "The slot has been confirmed beyond the position in the checkpoint file: the file is an older copy, or somebody else read the slot.",
    remedy:
      "Go on with the newest checkpoint file of this slot, if there is one; else start with --on-slot-loss resync: a new slot is made, " +
      "and the documents are loaded anew in place. Where another run follows the slot, give this one a slot of its own (--slot).",
    next: "resync",
    exitCode: EXIT.halted,
  },
  SEARCH_UNREACHABLE: {
    meaning: "The search engine did not answer.",
    remedy: "Check that it runs and that ELASTICSEARCH_URL is right.",
    next: "retry",
    exitCode: EXIT.connection,
  },
  SEARCH_UNAVAILABLE: {
    meaning:
      "The search engine answered, but takes no documents for now: it is overloaded, starting, or its indices are blocked.",
    remedy:
      "It is tried again without end; look at the engine's health, load and disk space (a full disk blocks writing).",
    next: "retry",
    exitCode: EXIT.connection,
  },
  SEARCH_LOGIN: {
    meaning: "The search engine refused the login, or the user lacks a privilege.",
    remedy: "Check user, password or API key, and the privileges on the index.",
    next: "halt",
    exitCode: EXIT.connection,
  },
  SEARCH_VERSION: {
    meaning: "The server is not a search engine that this program supports.",
    remedy: "Use Elasticsearch 7.10 or newer, or OpenSearch 2 or newer.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  SEARCH_REFUSED: {
    meaning: "The search engine refused a request that is not about one document.",
    remedy: "Read the reason that is shown; it usually names a setting or mapping of the schema file.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  FIELDS_REFUSED: {
    meaning: "The search engine refused to add the fields of new columns to the mapping of an index.",
    remedy:
      "With --daemon it is tried again without end, with the tables as they are by then. Where the index has as many fields as it may have, raise its " +
      "setting index.mapping.total_fields.limit, or drop the columns; else read the reason that is shown.",
    next: "retry",
    exitCode: EXIT.setup,
  },
  PIPELINE_MISSING: {
    meaning: "The ingest pipeline that the schema file names does not exist.",
    remedy: "Create the pipeline in the search engine, or correct `pipeline` in the schema file.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  INDEX_FOREIGN: {
    meaning: "An index of that name exists that this program did not make.",
    remedy: "Choose another index name in the schema file, or remove that index.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  INDEX_CHANGED: {
    meaning: "The index was made for another version of the schema file, whose documents have another shape.",
    remedy: "Undo the changes; or run `pgsync teardown` and start with --bootstrap to build the index anew.",
    next: "resync",
    exitCode: EXIT.setup,
  },
  INDEX_MISSING: {
    meaning: "The index does not exist, though its documents had been loaded.",
    remedy: "Start with --bootstrap: the index is made and loaded anew.",
    next: "resync",
    exitCode: EXIT.halted,
  },
  INDEX_NOT_LOADED: {
    meaning: "The documents of the index have not all been loaded yet, so they cannot be compared.",
    remedy: "Let the sync finish its initial load (`pgsync status` tells how far it is), then try again.",
    next: "retry",
    exitCode: EXIT.setup,
  },
  INDEX_VERSION_AHEAD: {
    meaning: "The index holds documents with versions beyond this server's own: another cluster wrote them.",
    remedy:
      "Start with --bootstrap, or with --on-slot-loss resync: documents with such versions are removed, a new slot is made, and " +
      "the documents are loaded anew in place.",
    next: "resync",
    exitCode: EXIT.halted,
  },
  DEAD_LETTER_LIMIT: {
    meaning:
      "More documents are refused than --max-dead-letters allows: they have a common cause. The list holds them all, and the " +
      "stream goes on; an initial load waits. Only a run without --daemon ends with this error.",
    remedy:
      "Read the reasons (`pgsync dead-letters list`), mend the mapping, the limit of the search engine or the rows, then " +
      "`pgsync dead-letters retry --all`; `pgsync dead-letters drop` forgets what is not to be mended.",
    next: "halt",
    exitCode: EXIT.halted,
  },
  STREAM_STALLED: {
    meaning: "The running sync does not move, so what differs cannot be told from what is on its way.",
    remedy:
      "Look at the sync (`pgsync status`): it may be busy with a large transaction, then wait longer with --wait.",
    next: "retry",
    exitCode: EXIT.connection,
  },
  LISTEN: {
    meaning: "The status server cannot listen on its address.",
    remedy: "Choose another address with --listen, or `--listen off`.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  STATUS_UNREACHABLE: {
    meaning: "No running pgsync answered at its status address.",
    remedy: "Check that it runs, and name its address with --url, or --listen as it was started.",
    next: "halt",
    exitCode: EXIT.connection,
  },
  STATUS_LOGIN: {
    meaning: "The status server of the running pgsync wants a token, and got none or another one.",
    remedy:
      "Set PGSYNC_TOKEN or PGSYNC_TOKEN_FILE as it is set for the run. Where it is not, the run keeps one of its own " +
      "beside its checkpoint files: name their folder with --checkpoint, and the address as the run's log does (status at …).",
    next: "halt",
    exitCode: EXIT.connection,
  },
  REQUEST_REFUSED: {
    meaning: "The status server of the running pgsync does not do what it was asked for.",
    remedy: "Read the reason that is shown.",
    next: "halt",
    exitCode: EXIT.setup,
  },
  RUN_NOT_THERE_YET: {
    meaning: "The run cannot do at this moment what it was asked for.",
    remedy: "Try again in a moment; `pgsync status` tells what it is doing.",
    next: "retry",
    exitCode: EXIT.connection,
  },
  INTERNAL: {
    meaning: "A fault in pgsync itself.",
    remedy: "Report it, with the lines that --verbose adds.",
    next: "halt",
    exitCode: EXIT.internal,
  },
} as const satisfies Record<string, ErrorDefinition>;

/** A stable error code. */
export type ErrorCode = keyof typeof ERRORS;
