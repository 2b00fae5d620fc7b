import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { connectPostgres, type Sql } from "../postgres/connect.ts";
import { sqlStateOf } from "../postgres/errors.ts";
import { onlyServer } from "../postgres/server_identity.ts";
import { addressOf } from "../postgres/socket.ts";
import type { StreamIdentity } from "./diagnosis.ts";
import type { Lsn } from "./lsn.ts";
import { inspectSlot } from "./slot.ts";

const CANNOT_CONNECT_NOW = "57P03";
const LOOK_AGAIN_MS = 1_000;

const logger = getLogger(["pgsync", "replication"]);

/**
 * Notices that the server shuts down. A fast shutdown ends all sessions but the walsenders, which wait until their clients have confirmed
 * everything; while new sessions are refused (57P03), so that nothing can be built any more that could be confirmed. A client that stays would
 * hold up the shutdown for ever. So beside each stream stands an idle connection: when it is closed, we look whether the server
 * still takes new ones.
 */
export class ShutdownSentinel {
  readonly #sql: Sql;
  #looking = false;
  #ended = false;
  /** The idle connection stands, so its end means something. */
  #standing = false;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** @param onShutdown called once with POSTGRES_UNREACHABLE when the server refuses new sessions */
  constructor(
    private readonly stream: StreamIdentity,
    private readonly onShutdown: (error: PgsyncError) => void,
  ) {
    const { options, server } = stream;
    this.#sql = connectPostgres(options, {
      ...(server === undefined ? {} : { admit: onlyServer(options, server) }),
      database: stream.database,
      purpose: "sentinel",
      max: 1,
      kind: "admin",
      onClose: () => {
        if (!this.#standing) return;
        this.#standing = false;
        this.look();
      },
    });
    this.look();
  }

  /** How far the stream's slot has been confirmed; null where there is none. @throws PgsyncError SERVER_CHANGED; postgres.js' errors */
  async confirmed(): Promise<Lsn | null> {
    return (await inspectSlot(this.#sql, this.stream.slot))?.confirmedFlushLsn ?? null;
  }

  /** Asks the server whether it still serves. */
  look(): void {
    if (this.#looking || this.#ended) return;
    this.#looking = true;
    this.#sql`SELECT`.then(() => {
      this.#looking = false;
      this.#standing = true;
    }, (error) => {
      this.#looking = false;
      this.#standing = false;
      this.#judge(error);
    });
  }

  /** Closes the connection; `onShutdown` is not called any more. */
  async end(): Promise<void> {
    this.#ended = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#sql.end({ timeout: 0 });
  }

  #judge(error: unknown): void {
    if (this.#ended) return;
    if (sqlStateOf(error) === CANNOT_CONNECT_NOW) {
      this.#ended = true;
      this.onShutdown(
        new PgsyncError(
          "POSTGRES_UNREACHABLE",
          `PostgreSQL at ${addressOf(this.stream.options)} is shutting down.`,
          { cause: error },
        ),
      );
      return;
    }
    // Anything else is no sign of a shutdown (no free connection, for example), and the stream itself notices a dead server.
    logger.debug("the sentinel's connection failed: {error}", { error });
    this.#timer = setTimeout(() => this.look(), LOOK_AGAIN_MS);
  }
}
