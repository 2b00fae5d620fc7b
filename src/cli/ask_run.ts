import { Buffer } from "node:buffer";
import { type IncomingMessage, request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { z } from "zod";
import { type ErrorCode, ERRORS } from "../errors/codes.ts";
import { PgsyncError } from "../errors/error.ts";
import { refusalJson } from "../server/dead_letters_json.ts";

/** No answer of a run is longer: a page of dead letters has 1,000 of them. */
const MOST_ANSWER_BYTES = 64 * 1024 * 1024;

/** The status server of a running process, and what it takes to be answered. */
export interface RunAddress {
  readonly url: string;
  readonly token: string | null;
}

/** A question. */
export interface Question<Schema extends z.ZodType> {
  /** Beginning with a slash, with its query. */
  readonly path: string;
  /** Sent as JSON, by POST; absent: GET. */
  readonly body?: unknown;
  /** Reads the answer. */
  readonly schema: Schema;
  readonly timeoutMs: number;
}

/**
 * Asks the running process.
 *
 * @returns the answer, as text and read
 * @throws PgsyncError STATUS_UNREACHABLE, STATUS_LOGIN, REQUEST_REFUSED; what the run itself says is the matter
 */
export async function askRun<Schema extends z.ZodType>(
  { url, token }: RunAddress,
  { path, body, schema, timeoutMs }: Question<Schema>,
): Promise<{ readonly text: string; readonly answer: z.infer<Schema> }> {
  const unreachable = (what: string, cause?: unknown) =>
    new PgsyncError("STATUS_UNREACHABLE", `No running pgsync answers at ${url}: ${what}.`, { cause });
  const headers: Record<string, string> = {};
  if (token !== null) headers["authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const signal = AbortSignal.timeout(timeoutMs);
  const { status, text } = await send(
    `${url}${path}`,
    { headers, signal, method: body === undefined ? "GET" : "POST" },
    body === undefined ? undefined : JSON.stringify(body),
  ).catch((thrown: unknown) => {
    if (thrown instanceof TooLong) throw unreachable("the answer is not that of pgsync", thrown);
    const what = signal.aborted ? `nothing came within ${timeoutMs / 1000} s` : "the connection failed";
    throw unreachable(what, thrown);
  });
  const json = parsed(text);
  if (status < 200 || status > 299) {
    throw refusal(url, status, json) ?? unreachable(`the answer was HTTP ${status}`);
  }
  if (json === undefined) throw unreachable("the answer is not that of pgsync");
  const read = schema.safeParse(json);
  if (!read.success) throw unreachable("the answer is not that of this version of pgsync", read.error);
  return { text, answer: read.data };
}

class TooLong extends Error {}

/**
 * Sends a request to where the address leads, and nowhere else: `fetch` would show the token to the proxy that HTTP_PROXY names, also
 * on the way to 127.0.0.1, and to wherever a redirect leads.
 */
async function send(
  url: string,
  options: RequestOptions,
  body: string | undefined,
): Promise<{ readonly status: number; readonly text: string }> {
  const { promise: answer, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const open = new URL(url).protocol === "https:" ? httpsRequest : httpRequest;
  open(url, { ...options, agent: false }, resolve).on("error", reject).end(body);
  const message = await answer;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MOST_ANSWER_BYTES) throw new TooLong(`more than ${MOST_ANSWER_BYTES} bytes`);
    chunks.push(bytes);
  }
  return { status: message.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What the run says is the matter; null where it says nothing that is to be understood. */
function refusal(url: string, status: number, json: unknown): PgsyncError | null {
  if (status === 401) return new PgsyncError("STATUS_LOGIN", `The pgsync at ${url} wants its token.`);
  const read = refusalJson.safeParse(json);
  if (!read.success) return null;
  const { error, code, remedy } = read.data;
  if (!isErrorCode(code)) return new PgsyncError("REQUEST_REFUSED", `The pgsync at ${url} says: ${error}`);
  return new PgsyncError(code, error, remedy === undefined ? {} : { remedy });
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(ERRORS, code);
}
