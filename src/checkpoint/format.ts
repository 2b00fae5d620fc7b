/**
 * The checkpoint file's format: an SQLite database with our application id, whose user_version counts the
 * steps below that have been applied. A step is never changed once released; a new need is a new step.
 */

/** "pgsy" in ASCII: marks the file as ours (https://www.sqlite.org/pragma.html#pragma_application_id). */
export const APPLICATION_ID = 0x70677379;

/** The steps from an empty file to the present format, in order. LSNs are text as PostgreSQL prints them, times ISO 8601. */
export const FORMAT_STEPS: readonly string[] = [
  `
  -- One row. Written at each opening: writing is what takes the exclusive lock.
  CREATE TABLE holder (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL, opened_at TEXT NOT NULL) STRICT;

  CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    system_identifier TEXT NOT NULL,
    timeline INTEGER NOT NULL,
    database TEXT NOT NULL,
    slot TEXT NOT NULL
  ) STRICT;

  CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), lsn TEXT NOT NULL) STRICT;

  CREATE TABLE load (
    index_name TEXT PRIMARY KEY,
    generation TEXT NOT NULL,
    finished INTEGER NOT NULL DEFAULT 0,
    end_lsn TEXT
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE load_chunk (
    index_name TEXT NOT NULL REFERENCES load ON DELETE CASCADE,
    number INTEGER NOT NULL,
    heap_schema TEXT NOT NULL,
    heap_table TEXT NOT NULL,
    heap_oid INTEGER NOT NULL,
    filenode INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('tid', 'keys', 'whole')),
    from_bound TEXT,
    to_bound TEXT,
    done INTEGER NOT NULL DEFAULT 0,
    documents INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (index_name, number)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE dead_letter (
    index_name TEXT NOT NULL,
    id TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('index', 'delete')),
    status INTEGER NOT NULL,
    type TEXT NOT NULL,
    reason TEXT NOT NULL,
    position TEXT,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (index_name, id)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- What the documents of an index were made of when all of them were last known to be equal.
  CREATE TABLE source (index_name TEXT PRIMARY KEY, description TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
  `
  -- One row where changes were lost and the documents were not loaded anew since: nobody could find that out a second time.
  CREATE TABLE loss (one INTEGER PRIMARY KEY CHECK (one = 1), reason TEXT NOT NULL) STRICT;
  `,
  `
  -- The version that was refused: an older build that is taken later does not settle it. 0: before this was kept.
  ALTER TABLE dead_letter ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- What the other tables come to, in the row that is written most often: its page is in the WAL whenever anything is. Where an older copy of the main
  -- file has been laid beside the newest WAL, the sums are those of the WAL, and the tables are those of the copy.
  ALTER TABLE position ADD COLUMN dead_letters INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE position ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE position ADD COLUMN chunks_done INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE position ADD COLUMN documents INTEGER NOT NULL DEFAULT 0;
  UPDATE position SET (dead_letters, tries, chunks_done, documents) = (
    SELECT (SELECT count(*) FROM dead_letter), (SELECT coalesce(sum(tries), 0) FROM dead_letter),
      (SELECT coalesce(sum(done), 0) FROM load_chunk), (SELECT coalesce(sum(documents), 0) FROM load_chunk)
  );

  CREATE TRIGGER dead_letter_inserted AFTER INSERT ON dead_letter BEGIN
    UPDATE position SET dead_letters = dead_letters + 1, tries = tries + NEW.tries;
  END;
  CREATE TRIGGER dead_letter_updated AFTER UPDATE ON dead_letter BEGIN
    UPDATE position SET tries = tries + NEW.tries - OLD.tries;
  END;
  CREATE TRIGGER dead_letter_deleted AFTER DELETE ON dead_letter BEGIN
    UPDATE position SET dead_letters = dead_letters - 1, tries = tries - OLD.tries;
  END;
  CREATE TRIGGER load_chunk_updated AFTER UPDATE ON load_chunk BEGIN
    UPDATE position SET chunks_done = chunks_done + NEW.done - OLD.done, documents = documents + NEW.documents - OLD.documents;
  END;
  -- Also for the chunks that go with their load.
  CREATE TRIGGER load_chunk_deleted AFTER DELETE ON load_chunk WHEN OLD.done <> 0 BEGIN
    UPDATE position SET chunks_done = chunks_done - OLD.done, documents = documents - OLD.documents;
  END;
  `,
  `
  -- What kind of loss, as the error's code; and whether its mending was begun: the slot may be gone by it.
  ALTER TABLE loss ADD COLUMN code TEXT NOT NULL DEFAULT 'HISTORY_DIVERGED';
  ALTER TABLE loss ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
  -- Whether only --on-slot-loss resync may mend it: the server may be the wrong one.
  ALTER TABLE loss ADD COLUMN by_name INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- The last transaction before the position: a server that does not hold it is an older state of itself, which has written on. Null: not known.
  ALTER TABLE position ADD COLUMN commit_lsn TEXT;
  ALTER TABLE position ADD COLUMN commit_xid INTEGER;
  ALTER TABLE position ADD COLUMN commit_time_ms REAL;
  `,
];
