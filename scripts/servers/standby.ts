/** Hot standbys of the servers that postgres.ts starts, for tests. */
import { chownSync, copyFileSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import postgres from "postgres";
import { type PostgresServer, startWithData } from "./postgres.ts";
import { isErrorCode, isRoot, SERVER_USER } from "./process.ts";

export interface StandbyOptions {
  /** The name by which `synchronous_standby_names` of the primary knows it. */
  readonly name?: string;
  /** Server settings beside or instead of ours. Those of the primary that a standby must not fall below (`max_connections`) are to be repeated. */
  readonly settings?: Readonly<Record<string, string>>;
}

/**
 * Starts a hot standby of a running server and waits until it takes connections. Its data are a base backup taken by SQL, for the
 * packages of binaries hold no pg_basebackup
 * (https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP).
 * It is stopped as any server is, and may itself have standbys.
 *
 * @throws Error with the server's log where it does not start
 */
export async function startStandby(
  primary: PostgresServer,
  options: StandbyOptions = {},
): Promise<PostgresServer> {
  const { username, password } = new URL(primary.url);
  const conninfo = [
    `host=127.0.0.1 port=${primary.port} user=${decodeURIComponent(username)}`,
    `password='${decodeURIComponent(password).replaceAll(/[\\']/g, "\\$&")}'`,
    `application_name=${options.name ?? "standby"}`,
  ].join(" ");
  const settings = {
    primary_conninfo: conninfo,
    // After a pause it reads on at once.
    wal_retrieve_retry_interval: "50ms",
    wal_receiver_status_interval: "1s",
    recovery_target_timeline: "latest",
    ...options.settings,
  };
  const inherited = password === "" ? {} : { password: decodeURIComponent(password) };
  return await startWithData(
    { major: primary.major, settings, ...inherited },
    async ({ dataDirectory }) => {
      const label = await baseBackup(primary, dataDirectory);
      for (const [name, text] of [["backup_label", label], ["standby.signal", ""]] as const) {
        const file = join(dataDirectory, name);
        writeFileSync(file, text, { mode: 0o600 });
        own(file);
      }
    },
  );
}

/** Copies a running server's data. @returns the content of `backup_label` */
async function baseBackup(primary: PostgresServer, target: string): Promise<string> {
  // The backup belongs to one session from its start to its stop.
  const sql = postgres(primary.url, { max: 1, onnotice: () => {} });
  try {
    if (!await isStandby(sql)) {
      // A standby that is away for the length of a test must find the WAL it has missed.
      await sql.unsafe("ALTER SYSTEM SET wal_keep_size = '2GB'");
      await sql.unsafe("SELECT pg_reload_conf()");
    }
    const old = primary.major < 15;
    await sql.unsafe(
      old ? "SELECT pg_start_backup('standby', true, false)" : "SELECT pg_backup_start('standby', true)",
    );
    copyData(primary.dataDirectory, target);
    const [row] = await sql.unsafe<{ labelfile: string }[]>(
      old
        ? "SELECT labelfile FROM pg_stop_backup(false, false)"
        : "SELECT labelfile FROM pg_backup_stop(false)",
    );
    if (row === undefined) throw new Error("the base backup has no label");
    return row.labelfile;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function isStandby(sql: postgres.Sql): Promise<boolean> {
  const [row] = await sql<{ standby: boolean }[]>`SELECT pg_is_in_recovery() AS standby`;
  return row?.standby === true;
}

/** What a backup leaves out: the process's own files, and what is made anew or fetched from the primary. */
const LEFT_OUT =
  /^(postmaster\.(pid|opts)|(pg_wal|pg_replslot|pg_stat_tmp|pg_dynshmem|pg_notify|pg_serial)\/.+)$/;

function copyData(source: string, target: string): void {
  const copy = (from: string, to: string) => {
    if (LEFT_OUT.test(relative(source, from))) return;
    try {
      const { mode, isFolder } = kindOf(from);
      if (!isFolder) copyFileSync(from, to);
      else {
        mkdirSync(to, { mode });
        for (const name of readdirSync(from)) copy(join(from, name), join(to, name));
      }
      own(to);
    } catch (error) {
      // Dropped meanwhile; the WAL tells of it.
      if (!isErrorCode(error, "ENOENT")) throw error;
    }
  };
  copy(source, target);
}

function kindOf(path: string): { readonly mode: number; readonly isFolder: boolean } {
  const status = lstatSync(path);
  return { mode: status.mode & 0o777, isFolder: status.isDirectory() };
}

function own(path: string): void {
  if (isRoot()) chownSync(path, SERVER_USER.uid, SERVER_USER.gid);
}
