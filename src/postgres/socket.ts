import { readFile } from "node:fs/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, TLSSocket } from "node:tls";
import { getLogger } from "@logtape/logtape";
import { PgsyncError } from "../errors/error.ts";
import { readErrorFields } from "./backend.ts";
import { whyUnreachable } from "./network_errors.ts";
import type { PostgresOptions } from "./options.ts";

/**
 * Opening a connection as libpq does: TCP or Unix socket, and TLS by `sslmode`
 * (https://www.postgresql.org/docs/current/libpq-ssl.html). postgres.js could do a part of it, but it takes certificates
 * only whole, cannot fall back, and hides the socket behind TLS that a COPY has to wake up afterwards.
 */

/** How long TCP connect, TLS and the server's first answer may take together. */
const OPEN_TIMEOUT_MS = 15_000;

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const CANCEL_REQUEST_CODE = 80_877_102;
const PROTOCOL_3_0 = 196_608;

const logger = getLogger(["pgsync", "postgres"]);

/** Opens sockets to one server, and remembers what it learned about TLS there. */
export class SocketOpener {
  /** Null: to be found out. What `prefer` falls back on is never kept, so that the next connection may have TLS. */
  #settled: "plain" | "tls" | null = null;
  #tlsOptions: ConnectionOptions | null = null;

  constructor(private readonly options: PostgresOptions, private readonly database: string) {}

  /**
   * Opens a socket on which the startup message can be sent.
   *
   * @throws PgsyncError POSTGRES_LOGIN where TLS is asked for and cannot be had; POSTGRES_UNREACHABLE; else the system's error, with its
   *   `code`
   */
  async open(): Promise<Socket> {
    const socket = await this.#open();
    if (!(socket instanceof TLSSocket)) warnOfPlain(this.options, socket);
    return socket;
  }

  async #open(): Promise<Socket> {
    const { host, sslmode } = this.options;
    if (isUnixSocket(host)) return await openPlain(this.options);
    if (sslmode === "prefer" && this.#settled === null) return await this.#preferTls();
    this.#settled ??= await this.#settle();
    return this.#settled === "plain" ? await openPlain(this.options) : await this.#openTls();
  }

  /**
   * Asks the server to cancel the statement of another session; resolves when the server closes the connection, which it
   * does after it has passed the request on.
   */
  async cancel(key: { readonly pid: number; readonly secret: number }): Promise<void> {
    const socket = await this.open();
    const request = Buffer.alloc(16);
    request.writeUInt32BE(16, 0);
    request.writeUInt32BE(CANCEL_REQUEST_CODE, 4);
    request.writeUInt32BE(key.pid, 8);
    request.writeUInt32BE(key.secret, 12);
    const limit = setTimeout(() => socket.destroy(timeout()), OPEN_TIMEOUT_MS);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("error", reject);
        socket.once("close", () => resolve());
        socket.resume();
        socket.write(request);
      });
    } finally {
      clearTimeout(limit);
    }
  }

  /** Decides between plain and TLS. Only `allow` needs the server for that; `prefer` does not come here. */
  async #settle(): Promise<"plain" | "tls"> {
    const { sslmode } = this.options;
    if (sslmode === "disable") return "plain";
    if (sslmode !== "allow") return "tls";
    const refused = await this.#isRefused(await openPlain(this.options));
    return refused ? "tls" : "plain";
  }

  /**
   * TLS where it comes about, else plain, for this connection. A connection that is cut in the handshake is an error like any other: it says
   * nothing of TLS, but something of the network, or of a server that goes down.
   */
  async #preferTls(): Promise<Socket> {
    const tls = await this.#tls();
    const { plain, offered } = await this.#requestTls();
    if (!offered) {
      plain.resume();
      return plain;
    }
    let secure: Socket;
    try {
      secure = await handshake(plain, tls, this.options);
    } catch (error) {
      if (error instanceof PgsyncError) return await openPlain(this.options);
      throw error;
    }
    if (await this.#isRefused(secure)) return await openPlain(this.options);
    this.#settled = "tls";
    return await this.#openTls();
  }

  /**
   * Whether pg_hba.conf has no line for us over this kind of connection (28000). It begins a login and leaves
   * when the server asks for the password, which PostgreSQL takes without a word in its log.
   */
  async #isRefused(socket: Socket): Promise<boolean> {
    const fields = Buffer.from(
      `user\0${this.options.user}\0database\0${this.database}\0application_name\0pgsync tls\0\0`,
    );
    const startup = Buffer.alloc(8 + fields.length);
    startup.writeUInt32BE(startup.length, 0);
    startup.writeUInt32BE(PROTOCOL_3_0, 4);
    fields.copy(startup, 8);
    socket.write(startup);
    const answer = await firstBytes(socket);
    socket.destroy();
    if (answer[0] !== 0x45) return false; // E
    return readErrorFields(answer.subarray(5)).get("C") === "28000";
  }

  async #openTls(): Promise<Socket> {
    const tls = await this.#tls();
    const { plain, offered } = await this.#requestTls();
    if (offered) return await handshake(plain, tls, this.options);
    plain.destroy();
    throw new PgsyncError(
      "POSTGRES_LOGIN",
      `PostgreSQL at ${addressOf(this.options)} offers no TLS, but sslmode is ${this.options.sslmode}.`,
      { remedy: "Switch TLS on in the server (ssl = on), or choose another sslmode (PG_SSLMODE)." },
    );
  }

  async #tls(): Promise<ConnectionOptions> {
    return this.#tlsOptions ??= await tlsOptions(this.options);
  }

  /** Asks for TLS on a new socket, which is paused then. Where it is not offered, the startup message may be sent in plain. */
  async #requestTls(): Promise<{ readonly plain: Socket; readonly offered: boolean }> {
    const plain = await openPlain(this.options);
    plain.write(SSL_REQUEST);
    const answer = await firstBytes(plain);
    // Bytes after the S would have been put there before encryption, by somebody in between (CVE-2021-23222).
    if (answer.length === 1 && answer[0] === 0x53) return { plain, offered: true }; // S
    if (answer.length === 1 && answer[0] === 0x4e) return { plain, offered: false }; // N
    plain.destroy();
    // What the server says here anybody could have said (CVE-2024-10977).
    if (answer[0] === 0x45) { // E
      throw new PgsyncError(
        "POSTGRES_UNREACHABLE",
        `PostgreSQL at ${addressOf(this.options)} has no resources to begin a session.`,
      );
    }
    throw this.notPostgres();
  }

  /** The error where what answers cannot be PostgreSQL. */
  notPostgres(): PgsyncError {
    return new PgsyncError(
      "POSTGRES_LOGIN",
      `What listens at ${addressOf(this.options)} does not speak PostgreSQL's protocol.`,
    );
  }
}

const hasBeenWarnedOf = new WeakSet<PostgresOptions>();

/** Says, once for a server, that a login leaves this machine without encryption. */
function warnOfPlain(options: PostgresOptions, { remoteAddress }: Socket): void {
  if (options.password === null || hasBeenWarnedOf.has(options)) return;
  if (remoteAddress === undefined || /^(::ffff:)?127\.|^::1$/.test(remoteAddress)) return;
  hasBeenWarnedOf.add(options);
  logger.warn(
    "The login to PostgreSQL goes to {server} without encryption: use --sslmode require, or better verify-full",
    { server: addressOf(options) },
  );
}

/** `host:port`, or the path of the Unix socket, for messages. */
export function addressOf(options: PostgresOptions): string {
  if (isUnixSocket(options.host)) return unixPath(options);
  return isIP(options.host) === 6 ? `[${options.host}]:${options.port}` : `${options.host}:${options.port}`;
}

function isUnixSocket(host: string): boolean {
  return host.startsWith("/");
}

function unixPath(options: PostgresOptions): string {
  return `${options.host.replace(/\/+$/, "")}/.s.PGSQL.${options.port}`;
}

/** An error as Node's net module makes them, so that it is classified like one. */
function timeout(): Error {
  return Object.assign(new Error("connect timed out"), { code: "ETIMEDOUT" });
}

function openPlain(options: PostgresOptions): Promise<Socket> {
  const socket = isUnixSocket(options.host)
    ? connectTcp(unixPath(options))
    : connectTcp({ host: options.host, port: options.port });
  socket.setNoDelay(true);
  return settled(socket, "connect", () => socket);
}

/** Waits for an event; an error, an end or the time limit rejects and destroys the socket. */
function settled<Value>(socket: Socket, event: string, take: (chunk: Buffer) => Value): Promise<Value> {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => fail(timeout()), OPEN_TIMEOUT_MS);
    const clear = () => {
      clearTimeout(limit);
      socket.off(event, onEvent);
      socket.off("error", fail);
      socket.off("end", onEnd);
      socket.off("close", onEnd);
    };
    const fail = (error: Error) => {
      clear();
      // A late second error must not bring the process down.
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    };
    const onEnd = () =>
      fail(Object.assign(new Error("the server closed the connection"), { code: "ECONNRESET" }));
    const onEvent = (chunk: Buffer) => {
      clear();
      resolve(take(chunk));
    };
    socket.on(event, onEvent);
    socket.on("error", fail);
    socket.on("end", onEnd);
    socket.on("close", onEnd);
  });
}

/** The next bytes from a socket that is quiet otherwise; afterwards it is paused again. */
function firstBytes(socket: Socket): Promise<Buffer> {
  return settled(socket, "data", (chunk) => {
    socket.pause();
    return chunk;
  });
}

/** @throws PgsyncError POSTGRES_LOGIN where TLS fails; else the system's error, with its `code` */
async function handshake(plain: Socket, tls: ConnectionOptions, options: PostgresOptions): Promise<Socket> {
  const secure = connectTls({ ...tls, socket: plain });
  try {
    return await settled(secure, "secureConnect", () => secure);
  } catch (error) {
    plain.destroy();
    if (whyUnreachable(error) !== null) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new PgsyncError(
      "POSTGRES_LOGIN",
      `No TLS connection with PostgreSQL at ${addressOf(options)} came about: ${reason}.`,
      {
        remedy:
          "Name the file with the certificate authority of the server (PG_SSLROOTCERT), or choose another sslmode (PG_SSLMODE).",
        cause: error,
      },
    );
  }
}

/**
 * What to check of the server's certificate. As in libpq: `verify-full` checks chain and name, `verify-ca` the chain, and the
 * weaker modes the chain only where a root certificate is named. Without a root certificate (or with `system`) the
 * runtime's own authorities are trusted.
 *
 * @throws PgsyncError POSTGRES_LOGIN where the root certificate cannot be read
 */
async function tlsOptions(options: PostgresOptions): Promise<ConnectionOptions> {
  const { host, sslmode, sslrootcert } = options;
  const named = sslrootcert !== null && sslrootcert !== "system";
  const verifies = sslmode === "verify-full" || sslmode === "verify-ca" || sslrootcert !== null;
  const base: ConnectionOptions = { host, rejectUnauthorized: verifies };
  if (isIP(host) === 0) base.servername = host;
  if (named) base.ca = await readRootCertificate(sslrootcert);
  // libpq: sslrootcert=system always means verify-full.
  if (verifies && sslmode !== "verify-full" && sslrootcert !== "system") {
    base.checkServerIdentity = () => undefined;
  }
  return base;
}

async function readRootCertificate(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new PgsyncError("POSTGRES_LOGIN", `The root certificate ${path} cannot be read.`, {
      remedy: "Correct the path given with --sslrootcert or PG_SSLROOTCERT.",
      cause: error,
    });
  }
}
