/** Reads a schema file from where it is: a path, an http(s) URL, or standard input. */
import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { PgsyncError } from "../errors/error.ts";
import type { Environment } from "./environment.ts";
import { parseSchema } from "./parse.ts";
import { MAX_BYTES, tooLarge } from "./syntax.ts";
import type { SchemaFile } from "./tree.ts";

/** How to reach what is outside. */
export interface LoadOptions {
  /** The variables that the file may name. */
  readonly environment: Environment;
  /** Reads the whole of standard input; by default that of the process. */
  readonly readStdin?: () => Promise<string>;
  /** By default the runtime's own. */
  readonly fetch?: typeof fetch;
  /** After so many milliseconds a URL is given up; 30,000 by default. */
  readonly timeoutMs?: number;
}

const FETCH_TIMEOUT_MS = 30_000;

/**
 * Reads and parses a schema file.
 *
 * @param source a path, a `file:`, `http:` or `https:` URL (user and password in it are sent as basic
 *   authentication), or `-` for standard input
 * @throws {PgsyncError} SCHEMA_UNREADABLE where it cannot be read; SCHEMA_INVALID and SCHEMA_UNSUPPORTED as
 *   `parseSchema`; SCHEMA_UNSUPPORTED for `s3:`
 */
export async function loadSchema(source: string, options: LoadOptions): Promise<SchemaFile> {
  const { text, name } = await readSource(source, options);
  return parseSchema(text, name, options.environment);
}

async function readSource(source: string, options: LoadOptions): Promise<{ text: string; name: string }> {
  if (source === "-") {
    const name = "<stdin>";
    const text = options.readStdin ? await options.readStdin() : await readStream(process.stdin, name);
    return { text, name };
  }
  if (source.trim() === "") throw unreadable("No schema file is named.");
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(source)?.[1]?.toLowerCase();
  if (scheme === "http" || scheme === "https") {
    return await readUrl(parseAddress(() => new URL(source)), options);
  }
  if (scheme === "file") {
    const path = parseAddress(() => fileURLToPath(source));
    return { text: await readFile(path), name: path };
  }
  if (scheme === "s3") {
    throw new PgsyncError("SCHEMA_UNSUPPORTED", "This version does not read schema files from s3.", {
      remedy:
        "Copy it to standard input: `aws s3 cp <url> - | pgsync --config -`; or give a presigned https URL.",
    });
  }
  if (scheme !== undefined) {
    throw unreadable(`A schema file cannot be read from a ${scheme} URL: only http, https and file will do.`);
  }
  return { text: await readFile(source), name: source };
}

async function readFile(path: string): Promise<string> {
  try {
    return await readStream(createReadStream(path), path);
  } catch (error) {
    if (error instanceof PgsyncError) throw error;
    throw unreadable(`${path} ${describeFileFault(error)}.`, error);
  }
}

function describeFileFault(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ENOTDIR") return "does not exist";
  if (code === "EISDIR") return "is a folder, not a schema file";
  if (code === "EACCES" || code === "EPERM") return "may not be read by this user";
  return `cannot be read (${error instanceof Error ? error.message : String(error)})`;
}

async function readUrl(url: URL, options: LoadOptions): Promise<{ text: string; name: string }> {
  // The name stands in messages and in /status; a user, a password or a presigned query must not.
  const name = `${url.origin}${url.pathname}`;
  const headers = new Headers({ accept: "application/yaml, application/json, */*;q=0.1" });
  if (url.username !== "" || url.password !== "") {
    const login = parseAddress(() =>
      `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
    );
    headers.set("authorization", `Basic ${Buffer.from(login, "utf8").toString("base64")}`);
    url.username = "";
    url.password = "";
  }
  const timeoutMs = options.timeoutMs ?? FETCH_TIMEOUT_MS;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await (options.fetch ?? fetch)(url, { headers, signal });
    if (!response.ok) {
      await response.body?.cancel();
      throw unreadable(`${name} answers ${`${response.status} ${response.statusText}`.trim()}.`);
    }
    return { text: response.body === null ? "" : await readStream(response.body, name), name };
  } catch (error) {
    if (error instanceof PgsyncError) throw error;
    if (signal.aborted) throw unreadable(`${name} does not answer within ${timeoutMs / 1000} s.`);
    // The runtimes' errors repeat addresses with their queries, their stacks too; so they are not passed on.
    throw unreadable(`${name} cannot be read (${describeCause(error)}).`);
  }
}

/**
 * What the runtime tells of a failed fetch, but no address: that of a redirect may hold a secret, too. Bun gives a code. Deno puts
 * what the network did into the cause, where no address has a blank; its other texts repeat the redirect as it came.
 */
function describeCause(error: unknown): string {
  if (!(error instanceof Error)) return "the request failed";
  if ("code" in error && typeof error.code === "string") return error.code;
  if (error.cause instanceof Error) return error.cause.message.replaceAll(/\S*\/\/\S*/g, "…");
  return "the request failed";
}

/** Reads no more than a schema file may have, whatever the other side would send. */
async function readStream(stream: AsyncIterable<Uint8Array | string>, name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk, "utf8") : chunk;
    size += bytes.byteLength;
    if (size > MAX_BYTES) throw tooLarge(name);
    chunks.push(bytes);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (error) {
    throw new PgsyncError("SCHEMA_INVALID", `${name} is not UTF-8 text.`, {
      remedy: "Save the schema file as UTF-8.",
      cause: error,
    });
  }
}

function parseAddress<T>(parse: () => T): T {
  try {
    return parse();
  } catch {
    // What was thrown repeats the address, which may hold a login.
    throw unreadable("The address of the schema file is not a valid URL.");
  }
}

function unreadable(message: string, cause?: unknown): PgsyncError {
  return new PgsyncError("SCHEMA_UNREADABLE", message, { cause });
}
