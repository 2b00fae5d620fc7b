/** What keeps the documents of a trial: the program in this process, or one of its own that can be killed. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import { PROJECT } from "../../scripts/project.ts";
import { type Child, removeFolder, startChild, temporaryFolder } from "../../scripts/servers/process.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { DeadLetter } from "../../src/checkpoint/types.ts";
import { type Lsn, parseLsn } from "../../src/replication/lsn.ts";
import type { SchemaFile } from "../../src/schema/tree.ts";
import { SEARCH_DEFAULTS } from "../../src/search/options.ts";
import { type StatusJson, statusJson, toStatusJson } from "../../src/server/status_json.ts";
import type { SyncEvent, SyncStatus } from "../../src/status/status.ts";
import { checkpointPath } from "../../src/sync/setup/checkpoint_path.ts";
import { slotName } from "../../src/sync/database_mapping.ts";
import { RUN_DEFAULTS, type RunOptions } from "../../src/sync/options.ts";
import { Synchronizer } from "../../src/sync/synchronizer.ts";
import { VERSION } from "../../src/version.ts";
import { optionsOf } from "../postgres/options.ts";

/** Events, or lines of the log, in an account. */
const TOLD = 40;

/** What a follower follows. */
export interface FollowerOptions {
  readonly schema: SchemaFile;
  /** The schema file's content. */
  readonly schemaText: string;
  /** Of the database. */
  readonly postgresUrl: string;
  readonly database: string;
  readonly searchUrl: string;
  readonly loadChunkRows: number;
  readonly bulkDocuments: number;
  /** 0: it does not refresh materialised views. */
  readonly viewRefreshSeconds: number;
}

/** A run of pgsync that can be asked how far it is. */
export interface Follower {
  /** Starts it, also again. */
  start(): Promise<void>;
  /** Whether it is ready and has confirmed the position. @throws what the run has failed with */
  hasConfirmed(lsn: Lsn): Promise<boolean>;
  /** Whether a look at the tables that began after this moment is over. @throws what the run has failed with */
  hasLooked(since: Date): Promise<boolean>;
  /** Waits until it says that it begins to map or to compare a whole index anew. @returns false where it does not within the time */
  comparison(milliseconds: number): Promise<boolean>;
  /** What it says of itself, for people: where it stands, and what it has told last. */
  account(): Promise<string>;
  /** Ends it in good order. @throws what the run has failed with */
  stop(): Promise<void>;
  /** Ends it at once, as a power cut would. Only of processes. */
  kill(): Promise<void>;
  /** Loads what is not loaded, catches up, and ends. */
  runOnce(): Promise<void>;
  /** How many slots it has given up because the server could not decode for them, in all its runs. */
  readonly slotsGivenUp: number;
  /** What the search engine refused; to be asked for when it has stopped. */
  deadLetters(): readonly DeadLetter[];
  /** Gives its files back. */
  close(): Promise<void>;
}

/** The program in this process. */
export class FollowerHere implements Follower {
  readonly #folder = temporaryFolder("fuzz");
  readonly #options: RunOptions;
  #run: { readonly done: Promise<void>; readonly stop: AbortController } | null = null;
  #failure: { readonly error: unknown } | null = null;
  /** The run that was started last. */
  synchronizer: Synchronizer;
  /** All events of all runs. */
  readonly events: SyncEvent[] = [];

  constructor(private readonly of: FollowerOptions) {
    this.#options = {
      ...RUN_DEFAULTS,
      schema: of.schema,
      postgres: optionsOf(of.postgresUrl),
      search: { ...SEARCH_DEFAULTS, urls: [of.searchUrl] },
      checkpointFolder: this.#folder,
      bootstrap: true,
      loadChunkRows: of.loadChunkRows,
      bulkDocuments: of.bulkDocuments,
      viewRefreshSeconds: of.viewRefreshSeconds,
      // Often, so that looks meet writers at work.
      catalogIntervalMs: 100,
    };
    this.synchronizer = this.#prepared();
  }

  start(): Promise<void> {
    const stop = new AbortController();
    this.synchronizer = this.#prepared();
    const done = this.synchronizer.run({ signal: stop.signal, daemon: true })
      .catch((error: unknown) => void (this.#failure = { error }));
    this.#run = { done, stop };
    return Promise.resolve();
  }

  async hasConfirmed(lsn: Lsn): Promise<boolean> {
    const status = await this.#status();
    return status !== undefined && status.ready && status.stream.confirmed >= lsn;
  }

  async hasLooked(since: Date): Promise<boolean> {
    const lookedAt = (await this.#status())?.tablesLookedAt ?? null;
    return lookedAt !== null && lookedAt > since;
  }

  comparison(): Promise<boolean> {
    return Promise.resolve(false);
  }

  account(): Promise<string> {
    const state = toStatusJson(this.synchronizer.status(), VERSION, new Date());
    const told = this.events.filter(({ type }) => type !== "bulk").slice(-TOLD).map((event) =>
      inspect(event)
    );
    return Promise.resolve(`${JSON.stringify(state.databases)}\n${told.join("\n")}`);
  }

  async stop(): Promise<void> {
    const run = this.#run;
    this.#run = null;
    run?.stop.abort();
    await run?.done;
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure.error;
  }

  kill(): Promise<void> {
    return Promise.reject(new Error("what runs in this process cannot be killed"));
  }

  async runOnce(): Promise<void> {
    this.synchronizer = this.#prepared();
    await this.synchronizer.run({ signal: AbortSignal.timeout(60_000), daemon: false });
  }

  get slotsGivenUp(): number {
    return this.events.filter((event) => event.type === "retry" && event.fault.code === "DECODING_FAILED")
      .length;
  }

  deadLetters(): readonly DeadLetter[] {
    return deadLettersIn(checkpointPath(this.#options, slotName(null, this.of.database)));
  }

  async close(): Promise<void> {
    // What it failed with has been told.
    this.#failure = null;
    this.#run?.stop.abort();
    await this.#run?.done;
    removeFolder(this.#folder);
  }

  /** The state of its one database. */
  #status(): Promise<SyncStatus | undefined> {
    if (this.#failure !== null) return Promise.reject(this.#failure.error);
    return Promise.resolve(this.synchronizer.status().databases[0]);
  }

  #prepared(): Synchronizer {
    return new Synchronizer(this.#options, (event) => {
      this.events.push(event);
      if (event.type !== "retry" || event.fault.next !== "resync" || event.fault.code === "DECODING_FAILED") {
        return;
      }
      // Nobody does this to it; and to load anew would hide what did.
      this.#failure ??= { error: new Error(`changes were lost: ${event.fault.message}`) };
    });
  }
}

/** What the program logs when it gives a slot up, and the code of the error. */
const GIVEN_UP = /The slot "[^"]+" is given up, and the documents are loaded anew \((\w+)\)/;
/** What the program logs before it has all documents of an index compared. */
const COMPARISON = / are (mapped and )?compared( anew\.)?/;

/** The permissions that the program needs under Deno. */
const PERMISSIONS = [
  ...["--allow-net", "--allow-env", "--allow-read", "--allow-write"],
  "--allow-sys=osRelease,hostname",
];

/** The program as a process: an executable, or the sources. */
export class FollowerProcess implements Follower {
  readonly #folder = temporaryFolder("fuzz");
  readonly #schemaFile = join(this.#folder, "schema.json");
  #child: Child | null = null;
  #onComparison: () => void = () => {};
  #address: string | null = null;
  slotsGivenUp = 0;
  /** What was said of changes that were lost, though nobody does that to it. */
  #lost: string | null = null;

  /** @param executable null: the sources */
  constructor(private readonly of: FollowerOptions, private readonly executable: string | null) {
    writeFileSync(this.#schemaFile, of.schemaText);
  }

  async start(): Promise<void> {
    this.#child = await this.#launch(["--daemon", "--bootstrap"]);
  }

  async hasConfirmed(lsn: Lsn): Promise<boolean> {
    const status = await this.#status();
    return status !== undefined && status.ready && parseLsn(status.stream.confirmed) >= lsn;
  }

  async hasLooked(since: Date): Promise<boolean> {
    const lookedAt = (await this.#status())?.tablesLookedAt ?? null;
    return lookedAt !== null && new Date(lookedAt) > since;
  }

  /** The state of its one database; undefined before the run knows of it. */
  async #status(): Promise<StatusJson["databases"][number] | undefined> {
    const child = this.#child;
    const ended = child?.exit();
    if (child === null || (ended !== null && ended !== undefined)) {
      throw new Error(`pgsync has ended by itself (${JSON.stringify(ended)}):\n${child?.output()}`);
    }
    if (this.#lost !== null) throw new Error(`changes were lost: ${this.#lost}`);
    if (this.#address === null) return undefined;
    const response = await fetch(new URL("/status", this.#address));
    return statusJson.parse(await response.json()).databases[0];
  }

  async account(): Promise<string> {
    const lines = this.#child?.output().trimEnd().split("\n").slice(-TOLD) ?? [];
    const state = await this.#status().catch((error: unknown) => ({ state: String(error) }));
    return `${JSON.stringify(state)}\n${lines.join("\n")}`;
  }

  async comparison(milliseconds: number): Promise<boolean> {
    const seen = new Promise<boolean>((resolve) => void (this.#onComparison = () => resolve(true)));
    return await Promise.race([seen, delay(milliseconds, false)]);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    const { code } = await child.stop("SIGTERM", 30_000);
    if (code !== 0) throw new Error(`pgsync ended with exit code ${code}:\n${child.output()}`);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    const ended = child?.exit();
    if (ended !== null && ended !== undefined) {
      throw new Error(`pgsync has ended by itself (${JSON.stringify(ended)}):\n${child?.output()}`);
    }
    child?.signal("SIGKILL");
    await child?.exited;
  }

  async runOnce(): Promise<void> {
    const child = await this.#launch(["--bootstrap"]);
    const { code } = await child.exited;
    if (code !== 0) throw new Error(`pgsync ended with exit code ${code}:\n${child.output()}`);
  }

  deadLetters(): readonly DeadLetter[] {
    return deadLettersIn(join(this.#folder, `${slotName(null, this.of.database)}.checkpoint`));
  }

  async close(): Promise<void> {
    this.#child?.signal("SIGKILL");
    await this.#child?.exited;
    removeFolder(this.#folder);
  }

  async #launch(args: readonly string[]): Promise<Child> {
    const { of, executable } = this;
    this.#address = null;
    const program = executable === null
      ? [process.execPath, "run", "--no-prompt", "--no-check", ...PERMISSIONS, join(PROJECT, "cli.ts")]
      : [executable];
    const [command = "", ...first] = program;
    return await startChild({
      command,
      args: [...first, ...args],
      cwd: this.#folder,
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: process.env["HOME"] ?? this.#folder,
        NO_COLOR: "1",
        PG_URL: of.postgresUrl,
        ELASTICSEARCH_URL: of.searchUrl,
        CHECKPOINT_PATH: this.#folder,
        SCHEMA: this.#schemaFile,
        PGSYNC_LISTEN: "127.0.0.1:0",
        PGSYNC_LOAD_CHUNK_ROWS: String(of.loadChunkRows),
        ELASTICSEARCH_CHUNK_SIZE: String(of.bulkDocuments),
        PGSYNC_CATALOG_INTERVAL: "1",
        PGSYNC_VIEW_REFRESH_INTERVAL: String(of.viewRefreshSeconds),
      },
      onLine: (line) => {
        this.#address ??= /status at (http:\S+)/.exec(line)?.[1] ?? null;
        if (COMPARISON.test(line)) this.#onComparison();
        const code = GIVEN_UP.exec(line)?.[1];
        if (code === undefined) return;
        this.slotsGivenUp++;
        if (code !== "DECODING_FAILED") this.#lost = line;
      },
    });
  }
}

function deadLettersIn(file: string): DeadLetter[] {
  using checkpoint = Checkpoint.open(file);
  return checkpoint.listDeadLetters();
}
