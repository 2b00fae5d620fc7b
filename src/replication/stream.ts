import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { getLogger } from "@logtape/logtape";
import { PgsyncError, toPgsyncError } from "../errors/error.ts";
import { backendOfQuery } from "../postgres/backend.ts";
import { copyStream } from "../postgres/copy_stream.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import type { PostgresOptions } from "../postgres/options.ts";
import { onlyServer, type ServerIdentity } from "../postgres/server_identity.ts";
import { quoteIdentifier } from "../postgres/quote.ts";
import { delay } from "../retry/backoff.ts";
import { classifyStreamError } from "./diagnosis.ts";
import { readFrame, statusUpdate } from "./frames.ts";
import { inboundVerdict, type LivenessTimings, livenessTimings, shouldAskForReply } from "./liveness.ts";
import { formatLsn, type Lsn } from "./lsn.ts";
import { PgoutputDecoder } from "./pgoutput.ts";
import type { PgoutputMessage } from "./pgoutput_types.ts";
import { ShutdownSentinel } from "./sentinel.ts";
import { readStreamServer, refusePosition, type StreamServer } from "./stream_server.ts";

/** Where a message lies in the WAL. */
export interface WalPlace {
  readonly walStart: Lsn;
  readonly walEnd: Lsn;
}

/** What a stream needs. */
export interface StreamSettings {
  readonly options: PostgresOptions;
  readonly database: string;
  readonly slot: string;
  readonly publication: string;
  /** Our durable position, which is to be in the server's WAL, and not before what the slot has confirmed; 0: none. */
  readonly position: Lsn;
  /** Where to begin: transactions that were committed before it, or before what the slot has confirmed, are not sent. 0: at the slot's own position. */
  readonly startLsn: Lsn;
  /** The server to which the position belongs; where another answers, nothing is started. Left out: whichever it is. */
  readonly server?: ServerIdentity;
  /** Nothing is delivered before `resume()`. */
  readonly startPaused?: boolean;
  /** Called before the server is asked for the slot, which may take a while to be ours. @param walsender the process id of the session */
  readonly onAsk?: (walsender: number) => void;
  /**
   * Called when the session stands, before the first message.
   *
   * @param confirmed how far the slot had been confirmed when it was ours; null: not known
   */
  readonly onConnect?: (confirmed: Lsn | null) => void;
  /** Called for each message, in order. What it throws ends the stream. It must not take long: use `pause`. */
  readonly onMessage: (message: PgoutputMessage, place: WalPlace) => void;
  /** Called when the server says how far it has read; between transactions everything before was sent. */
  readonly onKeepalive?: (walEnd: Lsn) => void;
}

const logger = getLogger(["pgsync", "replication"]);

/** Confirmations that come close together go out as one. */
const CONFIRM_WITHIN_MS = 10;
/** How long the server may take to answer the end of the stream, */
const STOP_LIMIT_MS = 1_000;
/** and then to close the connection. */
const LEAVE_LIMIT_MS = 200;

/** The one connection of a session. */
interface StreamConnection {
  readonly sql: Sql;
  readonly duplex: Duplex;
  /** Settles when the duplex has ended or failed. */
  readonly over: Promise<void>;
  readonly socket: Socket | undefined;
}

/**
 * A replication session: it owns its connection, decodes what comes, and tells the server by a timer of its own how far we are.
 *
 * Backpressure: after `pause()` no message is delivered and the socket is not read, for as long as it takes; the status updates go on, so
 * the server does not cut the connection.
 */
export class ReplicationStream {
  /**
   * Settles when the session is over: it resolves after `stop()`, and rejects with a `PgsyncError` otherwise: POSTGRES_UNREACHABLE (gone, silent, or
   * shutting down), SLOT_LOST, SLOT_MISSING, PUBLICATION_MISSING, REPLICATION_PROTOCOL and the like.
   */
  readonly closed: Promise<void>;

  readonly #settings: StreamSettings;
  readonly #connection: StreamConnection;
  readonly #duplex: Duplex;
  readonly #timings: LivenessTimings;
  readonly #sentinel: ShutdownSentinel;
  readonly #decoder = new PgoutputDecoder();
  readonly #settle: { readonly resolve: () => void; readonly reject: (error: PgsyncError) => void };

  #state: "open" | "stopping" | "closed" = "open";
  #paused = false;
  /** The server is told nothing before. */
  #hasBegun = false;
  /** How far the server has sent: all transactions that were committed before it. */
  #written: Lsn = 0n;
  /** What is durable here; not yet confirmed where this session has not come to it. */
  #durable: Lsn;
  #confirmed: Lsn = 0n;
  /** How far the slot had been confirmed when it was ours; null: not known. */
  #confirmedAtStart: Lsn | null = null;
  #lastInboundAt = performance.now();
  #lastStatusAt = 0;
  #statusTimer: ReturnType<typeof setInterval>;
  #confirmTimer: ReturnType<typeof setTimeout> | null = null;

  /**
   * Connects and starts streaming.
   *
   * @throws PgsyncError as `closed` rejects; also SLOT_ACTIVE, POSTGRES_LOGIN, PRIVILEGE_MISSING; CHECKPOINT_BEHIND where the slot has been
   * confirmed beyond `position`
   */
  static async start(settings: StreamSettings): Promise<ReplicationStream> {
    const { options, database, server } = settings;
    const sql = connectPostgres(options, {
      ...{ database, purpose: "stream", max: 1, kind: "replication" },
      ...(server === undefined ? {} : { admit: onlyServer(options, server) }),
    });
    let stream: ReplicationStream | null = null;
    try {
      const found = await readStreamServer(sql, settings.slot);
      refusePosition(found, settings);
      settings.onAsk?.(found.pid);
      const { walSenderTimeoutMs, versionNumber } = found;
      const query = sql.unsafe(startReplicationSql(settings, versionNumber)).execute();
      const { stream: duplex, over } = await copyStream(query);
      if (!(duplex instanceof Duplex)) {
        throw new PgsyncError("INTERNAL", "START_REPLICATION gave no stream to read and write.");
      }
      const timings = livenessTimings(walSenderTimeoutMs);
      const connection = { sql, duplex, over, socket: backendOfQuery(query)?.socket };
      stream = new ReplicationStream(settings, connection, timings, found);
      await stream.#begin();
      return stream;
    } catch (error) {
      await stream?.stop();
      await sql.end({ timeout: 0 });
      throw await classifyStreamError(error, settings, false);
    }
  }

  private constructor(
    settings: StreamSettings,
    connection: StreamConnection,
    timings: LivenessTimings,
    /** Who answered when the session began. */
    readonly server: StreamServer,
  ) {
    const { duplex, over } = connection;
    this.#settings = settings;
    this.#connection = connection;
    this.#duplex = duplex;
    this.#timings = timings;
    this.#durable = settings.position;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.closed = promise;
    // Whoever waits gets the error; that nobody waits yet is no reason to bring the process down.
    promise.catch(() => {});
    this.#settle = { resolve, reject };
    // Only 'data' keeps the frames apart: reading by `for await` would merge them.
    duplex.on("data", (frame: Buffer) => this.#onFrame(frame));
    duplex.on("error", (error: Error) => this.#fail(error));
    duplex.on("end", () => this.#onEnd());
    duplex.on("close", () => this.#onEnd());
    // Before anybody listened, that is.
    over.then(() => this.#onEnd(), (error: unknown) => this.#fail(error));
    this.#statusTimer = setInterval(() => this.#onTimer(), timings.statusIntervalMs);
    this.#sentinel = new ShutdownSentinel(settings, (error) => this.#fail(error));
    this.pause();
  }

  /**
   * Begins to speak and to deliver, unless somebody else has followed the slot after its position was read, and left it before it was ours: what
   * he has confirmed the server passes over, and says nothing. This is the last moment to see it: our position moves beyond his with the first
   * message, and older releases take the slot back to the position of our first status.
   *
   * @throws PgsyncError CHECKPOINT_BEHIND; as `closed` rejects; postgres.js' errors
   */
  async #begin(): Promise<void> {
    const asked = this.#sentinel.confirmed().catch(async (error: unknown) => {
      // A stream that ends closes its sentinel, too; why it has ended tells more.
      if (this.#state !== "open") await this.closed;
      throw error;
    });
    const confirmed = await Promise.race([asked, this.closed.then(() => null)]);
    refusePosition({ ...this.server, confirmed }, this.#settings);
    this.#confirmedAtStart = confirmed;
    this.#confirmed = confirmed ?? 0n;
    this.#written = this.#confirmed;
    this.#hasBegun = true;
    this.#sendStatus(false);
    this.#settings.onConnect?.(this.confirmedAtStart);
    if (!this.#settings.startPaused) this.resume();
  }

  /** How far the slot had been confirmed when it was ours; null: not known. */
  get confirmedAtStart(): Lsn | null {
    return this.#confirmedAtStart;
  }

  /** The last position that was confirmed. */
  get confirmedLsn(): Lsn {
    return this.#confirmed;
  }

  /** True between `pause()` and `resume()`. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Delivers nothing more, at once, and stops reading the socket. */
  pause(): void {
    if (this.#paused || this.#state !== "open") return;
    this.#paused = true;
    this.#duplex.pause();
  }

  /** Delivers what was held back, and goes on. */
  resume(): void {
    if (!this.#paused || this.#state !== "open") return;
    this.#paused = false;
    this.#lastInboundAt = performance.now();
    this.#duplex.resume();
  }

  /**
   * Remembers that everything before `lsn` is durable here, and tells the server within some milliseconds, but not before this session has come to it: what was taken in one before is
   * no proof that this server, which may have been restored to an older state, has nothing else to tell. An older position than before changes nothing.
   */
  confirm(lsn: Lsn): void {
    if (lsn > this.#durable) this.#durable = lsn;
    this.#confirmReached();
  }

  #confirmReached(): void {
    const reached = this.#durable < this.#written ? this.#durable : this.#written;
    if (reached <= this.#confirmed || this.#state !== "open") return;
    this.#confirmed = reached;
    this.#confirmTimer ??= setTimeout(() => {
      this.#confirmTimer = null;
      this.#sendStatus(false);
    }, CONFIRM_WITHIN_MS);
  }

  /**
   * Ends the session: tells the server the last confirmed position, takes leave, closes the connection. Nothing is delivered
   * any more. It never rejects; the second call waits for the first.
   */
  async stop(): Promise<void> {
    if (this.#state === "open") {
      this.#sendStatus(false);
      this.#state = "stopping";
      this.#stopTimers();
      const said = new Promise<void>((resolve) => {
        this.#duplex.once("end", resolve);
        this.#duplex.once("close", resolve);
        setTimeout(resolve, STOP_LIMIT_MS);
      });
      // Ends with CopyDone, which the server answers in kind after what it was sending; that is read and dropped.
      this.#duplex.end();
      this.#duplex.resume();
      await said;
      await this.#close();
      this.#settle.resolve();
    }
    await this.closed.catch(() => {});
  }

  #onFrame(bytes: Buffer): void {
    if (this.#state !== "open") return;
    const now = performance.now();
    this.#lastInboundAt = now;
    // While frames come without a break, the timer may be late.
    if (now - this.#lastStatusAt > this.#timings.statusIntervalMs) this.#sendStatus(false);
    try {
      const frame = readFrame(bytes);
      if (frame.walEnd > this.#written) this.#written = frame.walEnd;
      if (frame.kind === "data") {
        const place = { walStart: frame.walStart, walEnd: frame.walEnd };
        this.#settings.onMessage(this.#decoder.decode(frame.payload), place);
        this.#confirmReached();
        return;
      }
      this.#settings.onKeepalive?.(frame.walEnd);
      this.#confirmReached();
      if (frame.replyRequested) {
        this.#sendStatus(false);
        // We speak more often than the server would ask; so that it asks may mean that it waits for us to shut down.
        this.#sentinel.look();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #onTimer(): void {
    const now = performance.now();
    const { inboundLimitMs } = this.#timings;
    const verdict = inboundVerdict({
      now,
      lastInboundAt: this.#lastInboundAt,
      paused: this.#paused,
      inboundLimitMs,
    });
    if (verdict === "dead") {
      this.#fail(
        new PgsyncError(
          "POSTGRES_UNREACHABLE",
          `The replication stream of slot "${this.#settings.slot}" has been silent for ${inboundLimitMs} ms.`,
        ),
      );
      return;
    }
    this.#sendStatus(!this.#paused && shouldAskForReply(now, this.#lastInboundAt, this.#timings));
  }

  #sendStatus(askForReply: boolean): void {
    if (!this.#hasBegun || this.#state !== "open" || this.#duplex.writableEnded || this.#duplex.destroyed) {
      return;
    }
    this.#lastStatusAt = performance.now();
    const progress = { written: this.#written, flushed: this.#confirmed, applied: this.#confirmed };
    this.#duplex.write(statusUpdate(progress, Date.now(), askForReply));
  }

  #onEnd(): void {
    // The server ends a stream only when we have asked for it, or with an error that is on its way.
    if (this.#state !== "open") return;
    this.#fail(
      new PgsyncError(
        "POSTGRES_UNREACHABLE",
        `PostgreSQL has ended the replication stream of slot "${this.#settings.slot}".`,
      ),
    );
  }

  #fail(thrown: unknown): void {
    if (this.#state !== "open") return;
    this.#state = "closed";
    this.#stopTimers();
    this.#duplex.pause();
    void this.#conclude(thrown);
  }

  async #conclude(thrown: unknown): Promise<void> {
    // First the connection: a walsender that waits for us may be what holds up the server.
    await this.#close();
    try {
      this.#settle.reject(await classifyStreamError(thrown, this.#settings, true));
    } catch (error) {
      this.#settle.reject(toPgsyncError(error));
    }
  }

  async #close(): Promise<void> {
    this.#state = "closed";
    // postgres.js destroys its stream with an error when the connection goes; all has been said by then.
    this.#duplex.on("error", (error) => logger.debug("the stream ended with {error}", { error }));
    const { sql, socket } = this.#connection;
    await Promise.all([sql.end({ timeout: 0 }), this.#sentinel.end()]);
    // A socket that is not read, or a server that is gone, would otherwise stay half open.
    if (socket !== undefined && !socket.destroyed) {
      socket.resume();
      const left = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      await Promise.race([left, delay(LEAVE_LIMIT_MS)]);
      socket.destroy();
    }
  }

  #stopTimers(): void {
    clearInterval(this.#statusTimer);
    if (this.#confirmTimer !== null) clearTimeout(this.#confirmTimer);
    this.#confirmTimer = null;
  }
}

/**
 * The command that starts the stream. The replication grammar has its own quoting: in its literals only the quote is doubled
 * (no E''), and the value of `publication_names` is itself a list of identifiers.
 */
export function startReplicationSql(
  settings: Pick<StreamSettings, "slot" | "publication" | "startLsn">,
  versionNumber: number,
): string {
  const publication = quoteIdentifier(settings.publication).replaceAll("'", "''");
  const options = ["proto_version '1'", `publication_names '${publication}'`];
  if (versionNumber >= 140_000) options.push("messages 'true'");
  const slot = quoteIdentifier(settings.slot);
  return `START_REPLICATION SLOT ${slot} LOGICAL ${formatLsn(settings.startLsn)} (${options.join(", ")})`;
}
