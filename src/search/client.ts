import { gzip } from "node:zlib";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { type ConnectionOptions, Transport, WeightedConnectionPool } from "@elastic/elasticsearch";
import { PgsyncError } from "../errors/error.ts";
import { SearchConnection } from "./connection.ts";
import { detect, type Engine } from "./detect.ts";
import { unanswered } from "./errors.ts";
import type { SearchLogin, SearchOptions } from "./options.ts";
import { pinnedAuthority } from "./pinned_authority.ts";
import { AnswerTooLargeError, readAnswer } from "./read_answer.ts";
import type { SearchRequest } from "./request.ts";
import { SearchResponse } from "./response.ts";

/** A connection to a search engine of known version. */
export interface SearchClient {
  readonly engine: Engine["engine"];
  /** As the server writes it: `8.19.21`. */
  readonly version: string;
  /** Largest body that the engine takes, in bytes; null where it would not tell. */
  readonly maxBodyBytes: number | null;
  /** `Elasticsearch 8.19.21` */
  describe(): string;
  /**
   * Sends a request; answers of every status are returned.
   *
   * @throws PgsyncError SEARCH_UNREACHABLE where no answer came
   * @throws AnswerTooLargeError where the answer has more bytes than the request says
   * @throws the signal's reason, where it is aborted
   */
  request(request: SearchRequest): Promise<SearchResponse>;
  /**
   * Asks for any answer at all.
   *
   * @param timeoutSeconds as `SearchRequest`
   * @throws as `request`; PgsyncError where the answer was an outage or a refused login
   */
  ping(signal?: AbortSignal, timeoutSeconds?: number): Promise<void>;
  /** Closes the sockets; requests under way fail. */
  close(): Promise<void>;
}

const compressBody = promisify<Buffer, { level: number }, Buffer>(gzip);
/** Below this, compressing costs more than it saves. */
const COMPRESS_FROM_BYTES = 1024;

/**
 * Connects to the search engine and finds out what it is.
 *
 * Plain `application/json` is spoken, which Elasticsearch 7, 8, 9 and OpenSearch all take in their own dialect: the
 * client library's product check and its `compatible-with` headers, which fit one major version only, are left out.
 *
 * @throws PgsyncError SEARCH_UNREACHABLE, SEARCH_UNAVAILABLE, SEARCH_LOGIN, SEARCH_VERSION; USAGE where a certificate
 *   file cannot be read
 */
export async function connectSearch(options: SearchOptions, signal?: AbortSignal): Promise<SearchClient> {
  const sender = new Sender(options, await tlsOptions(options, signal));
  try {
    const engine = await detect((request) => sender.request({ ...request, signal }));
    return new ConnectedClient(sender, engine);
  } catch (error) {
    await sender.close();
    throw error;
  }
}

class ConnectedClient implements SearchClient {
  readonly #sender: Sender;
  readonly #engine: Engine;

  constructor(sender: Sender, engine: Engine) {
    this.#sender = sender;
    this.#engine = engine;
  }

  get engine(): Engine["engine"] {
    return this.#engine.engine;
  }

  get version(): string {
    return this.#engine.version;
  }

  get maxBodyBytes(): number | null {
    return this.#engine.maxBodyBytes;
  }

  describe(): string {
    return `${this.engine === "opensearch" ? "OpenSearch" : "Elasticsearch"} ${this.version}`;
  }

  request(request: SearchRequest): Promise<SearchResponse> {
    return this.#sender.request(request);
  }

  async ping(signal?: AbortSignal, timeoutSeconds?: number): Promise<void> {
    const response = await this.#sender.request({
      method: "GET",
      path: "/",
      doing: "answer",
      signal,
      ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
    });
    // A server may refuse this path (405) or this user (403) and yet be there.
    if (response.verdict === "temporary" || response.status === 401) throw response.refusal();
  }

  close(): Promise<void> {
    return this.#sender.close();
  }
}

/** The transport of the client library, with one deadline and one signal over each whole exchange. */
class Sender {
  readonly #transport: Transport;
  readonly #pool: WeightedConnectionPool;
  readonly #options: SearchOptions;
  readonly #server: string;
  /** The exchanges under way, each with the way to end it. */
  readonly #open = new Map<AbortController, Promise<SearchResponse>>();

  constructor(options: SearchOptions, tls: Pick<ConnectionOptions, "tls">) {
    this.#options = options;
    const urls = options.urls.map(parseUrl);
    this.#server = serverName(urls);
    const connection = connectionOptions(options);
    this.#pool = new WeightedConnectionPool({ Connection: SearchConnection });
    this.#pool.addConnection(urls.map((url) => ({
      ...connection,
      ...(url.protocol === "https:" ? tls : {}),
      url,
    })));
    this.#transport = new Transport({
      connectionPool: this.#pool,
      // Once for each node and once more, for a kept connection may have been closed while it was idle.
      maxRetries: urls.length,
      retryBackoff: () => 0,
      headers: options.opaqueId === null ? {} : { "x-opaque-id": options.opaqueId },
      enableMetaHeader: false,
      // By default each failure copies the whole request to take secrets out of it, the body byte by byte: two million objects for
      // one bulk request. `unanswered` lets go of it instead.
      redaction: { type: "remove" },
      openTelemetry: { enabled: false },
    });
  }

  async request(request: SearchRequest): Promise<SearchResponse> {
    const { signal } = request;
    signal?.throwIfAborted();
    const timeoutSeconds = request.timeoutSeconds ?? this.#options.timeoutSeconds;
    const exchange = new AbortController();
    const abort = () => exchange.abort();
    const timer = setTimeout(abort, timeoutSeconds * 1000);
    signal?.addEventListener("abort", abort, { once: true });
    const answer = this.#exchange(request, exchange.signal);
    this.#open.set(exchange, answer);
    try {
      return await answer;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof AnswerTooLargeError) throw error;
      if (exchange.signal.aborted) {
        throw unanswered(new Error(`no answer within ${timeoutSeconds} s`), this.#server);
      }
      throw unanswered(error, this.#server);
    } finally {
      this.#open.delete(exchange);
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  async #exchange(request: SearchRequest, signal: AbortSignal): Promise<SearchResponse> {
    const headers: Record<string, string> = {};
    let body = encodeBody(request.body);
    if (body !== undefined) {
      headers["content-type"] = request.contentType ?? "application/json";
      if (this.#options.compress && body.length >= COMPRESS_FROM_BYTES) {
        // Level 1 costs a fifth of the default level and saves nearly as much on JSON.
        body = await compressBody(body, { level: 1 });
        headers["content-encoding"] = "gzip";
      }
    }
    // A stream, because the library lets go of the signal as soon as the answer's head is there: a server that
    // stops in the middle of a body would hold the request for ever.
    const result = await this.#transport.request<Readable>(
      {
        method: request.method,
        path: request.path,
        ...(body === undefined ? {} : { body }),
        ...(request.query === undefined ? {} : { querystring: { ...request.query } }),
      },
      { asStream: true, meta: true, signal, headers, ...(request.singleAttempt ? { maxRetries: 0 } : {}) },
    );
    const told = result.headers ?? {};
    const bytes = await readAnswer(result.body, told, request.mostBytes ?? Infinity, signal);
    return new SearchResponse(result.statusCode ?? 0, bytes, told, request.doing);
  }

  async close(): Promise<void> {
    const open = [...this.#open];
    for (const [exchange] of open) exchange.abort();
    // The pool looks only once a second whether a connection is still in use.
    await Promise.allSettled(open.map(([, answer]) => answer));
    await this.#pool.empty();
  }
}

function encodeBody(body: SearchRequest["body"]): Buffer | undefined {
  if (body === undefined || Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body), "utf8");
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new PgsyncError("USAGE", "The URL of the search engine must begin with http:// or https://.");
  }
  url.username = "";
  url.password = "";
  return url;
}

function connectionOptions(options: SearchOptions): Omit<ConnectionOptions, "url"> {
  const auth = authOf(options.login);
  return auth === null ? {} : { auth };
}

function authOf(login: SearchLogin): NonNullable<ConnectionOptions["auth"]> | null {
  switch (login.kind) {
    case "none":
      return null;
    case "basic":
      return { username: login.user, password: login.password };
    case "api-key":
      return { apiKey: login.key };
    case "bearer":
      return { bearer: login.token };
  }
}

/** The addresses for messages, without user and password. */
function serverName(urls: readonly URL[]): string {
  return urls.map((url) => url.origin).join(", ");
}

/**
 * What is checked of the server, and shown to it. The authority that a fingerprint stands for is the only one that is trusted. It signs for its
 * own cluster alone, so the name does not matter, unless an authority is named as a file, too.
 *
 * @throws PgsyncError USAGE where a file cannot be read; SEARCH_UNREACHABLE where the pinned authority cannot be asked for
 */
async function tlsOptions(
  options: SearchOptions,
  signal?: AbortSignal,
): Promise<Pick<ConnectionOptions, "tls">> {
  const { caCertificate, caFingerprint, clientCertificate, clientKey, verifyCertificates } = options;
  const shown: NonNullable<ConnectionOptions["tls"]> = {};
  if (clientCertificate !== null) shown.cert = readPem(clientCertificate);
  if (clientKey !== null) shown.key = readPem(clientKey);
  if (caCertificate !== null) shown.ca = readPem(caCertificate);
  const urls = options.urls.map(parseUrl);
  const [first, ...others] = urls.filter(({ protocol }) => protocol === "https:");
  if (caFingerprint === null || first === undefined) {
    return { tls: { ...shown, rejectUnauthorized: verifyCertificates } };
  }
  const ask = (url: URL) => {
    signal?.throwIfAborted();
    return pinnedAuthority(url, caFingerprint, shown, options.timeoutSeconds * 1000, signal);
  };
  let asked = ask(first);
  for (const url of others) asked = asked.catch(() => ask(url));
  const ca = await asked.catch((thrown: unknown) => {
    signal?.throwIfAborted();
    throw unanswered(thrown, serverName(urls));
  });
  const anyName = caCertificate === null ? { checkServerIdentity: () => undefined } : {};
  return { tls: { ...shown, ca, rejectUnauthorized: true, ...anyName } };
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new PgsyncError("USAGE", `The certificate or key file ${path} could not be read.`, {
      cause: error,
    });
  }
}
