import type { z } from "zod";
import { type ErrorCode, ERRORS } from "../errors/codes.ts";
import { PgsyncError } from "../errors/error.ts";
import { refusalJson } from "../server/dead_letters_json.ts";

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
  let response: Response;
  let text: string;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    // It asks its own server, and would show the token to wherever that leads.
    const init = { headers, signal, redirect: "error" as const };
    response = await fetch(
      `${url}${path}`,
      body === undefined ? init : { ...init, method: "POST", body: JSON.stringify(body) },
    );
    text = await response.text();
  } catch (thrown) {
    const late = thrown instanceof Error && thrown.name === "TimeoutError";
    throw unreachable(late ? `nothing came within ${timeoutMs / 1000} s` : "the connection failed", thrown);
  }
  const json = parsed(text);
  if (!response.ok) {
    throw refusal(url, response.status, json) ?? unreachable(`the answer was HTTP ${response.status}`);
  }
  if (json === undefined) throw unreachable("the answer is not that of pgsync");
  const read = schema.safeParse(json);
  if (!read.success) throw unreachable("the answer is not that of this version of pgsync", read.error);
  return { text, answer: read.data };
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
