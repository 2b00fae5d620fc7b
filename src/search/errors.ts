import { errors } from "@elastic/elasticsearch";
import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";

/** What the engine says of a failure: its stable type (`mapper_parsing_exception`) and a sentence. */
export interface EngineError {
  readonly type: string;
  readonly reason: string;
}

/** What an answer was: good, refused for good, or worth another attempt. */
export type Verdict =
  | "ok"
  /** Overload or outage: the same request may succeed later. */
  | "temporary"
  /** The login or its privileges. */
  | "login"
  /** The index (or the alias that is written to) is not there. */
  | "index-missing"
  /** The body is larger than the engine or a proxy before it takes. */
  | "too-large"
  /** The request itself is at fault. */
  | "refused";

/** The shape of an `error` object, of a whole answer or of one item of a bulk answer. */
export const errorSchema = z.object({
  type: z.string(),
  reason: z.string().nullish(),
  caused_by: z.object({ type: z.string(), reason: z.string().nullish() }).nullish(),
});

/** A whole answer that says no. Proxies and security plugins send text instead, so this may not match. */
const failureSchema = z.object({ error: z.union([errorSchema, z.string()]) });

const TEMPORARY_STATUSES: ReadonlySet<number> = new Set([408, 425, 429]);

/**
 * Types that pass by themselves, or by an operator's hand on the cluster, whatever their status: a read-only or full
 * index answers 403 (https://www.elastic.co/guide/en/elasticsearch/reference/8.19/index-modules-blocks.html), a closed one 400.
 */
const TEMPORARY_TYPES: ReadonlySet<string> = new Set([
  "cluster_block_exception",
  "es_rejected_execution_exception",
  "rejected_execution_exception",
  "index_closed_exception",
]);

/** Types that say that the document is at fault, though they come with status 500: an ingest pipeline's `fail` processor. */
const REFUSED_TYPES: ReadonlySet<string> = new Set(["fail_processor_exception"]);

/**
 * Judges an HTTP answer, or an item of a bulk answer, by its status and the engine's error type. Texts never count.
 *
 * @param type the `error.type`, or null where there is none
 */
export function judge(status: number, type: string | null): Verdict {
  if (status < 300) return "ok";
  if (type !== null && TEMPORARY_TYPES.has(type)) return "temporary";
  if (type !== null && REFUSED_TYPES.has(type)) return "refused";
  if (TEMPORARY_STATUSES.has(status) || status >= 500) return "temporary";
  if (type === "index_not_found_exception") return "index-missing";
  if (status === 401 || status === 403) return "login";
  if (status === 413) return "too-large";
  return "refused";
}

/** Reads the `error` of a failed answer; where there is none that we know, the status stands in its place. */
export function engineError(status: number, body: unknown): EngineError {
  const parsed = failureSchema.safeParse(body);
  if (!parsed.success) return { type: `http_${status}`, reason: `HTTP status ${status}` };
  const { error } = parsed.data;
  return typeof error === "string" ? { type: `http_${status}`, reason: error } : flattenError(error);
}

/** Joins an error with the cause underneath, which often holds the part that helps (`For input string: "abc"`). */
export function flattenError(error: z.infer<typeof errorSchema>): EngineError {
  const reason = error.reason ?? error.type;
  const cause = error.caused_by?.reason;
  return { type: error.type, reason: cause ? `${reason} (${cause})` : reason };
}

/**
 * Makes the error for an answer that says no.
 *
 * @param doing what was asked, continuing "The search engine refused to …"
 */
export function refusal(verdict: Verdict, status: number, error: EngineError, doing: string): PgsyncError {
  const said = `HTTP ${status}, ${error.type}: ${error.reason}`;
  switch (verdict) {
    case "temporary":
      return new PgsyncError("SEARCH_UNAVAILABLE", `The search engine cannot ${doing} for now (${said}).`);
    case "login":
      return new PgsyncError("SEARCH_LOGIN", `The search engine does not let this user ${doing} (${said}).`);
    case "index-missing":
      return new PgsyncError("INDEX_MISSING", `The search engine could not ${doing} (${said}).`);
    default:
      return new PgsyncError("SEARCH_REFUSED", `The search engine refused to ${doing} (${said}).`);
  }
}

/**
 * Makes the error for a request that got no answer.
 *
 * @param server the server's address, without user and password
 */
export function unanswered(thrown: unknown, server: string): PgsyncError {
  if (thrown instanceof PgsyncError) return thrown;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof errors.ConfigurationError || thrown instanceof TypeError) {
    return new PgsyncError(
      "INTERNAL",
      `A request to the search engine could not be made: ${sentence(reason)}`,
      {
        cause: thrown,
      },
    );
  }
  return new PgsyncError(
    "SEARCH_UNREACHABLE",
    `The search engine at ${server} did not answer: ${sentence(reason)}`,
    { cause: withoutRequest(thrown) },
  );
}

/** The library's errors hold the request, with its login and a body of megabytes, for as long as anybody holds them. */
function withoutRequest(thrown: unknown): unknown {
  if (!(thrown instanceof errors.ElasticsearchClientError)) return thrown;
  const plain = new Error(thrown.message, { cause: withoutRequest(thrown.cause) });
  plain.name = thrown.name;
  if (thrown.stack !== undefined) plain.stack = thrown.stack;
  return plain;
}

/** Whether an error tells of the search engine. */
export function isOfSearch({ code }: PgsyncError): boolean {
  return code.startsWith("SEARCH_") || code === "FIELDS_REFUSED";
}

/** Some libraries end their messages with a full stop, the system does not. */
function sentence(reason: string): string {
  return reason.endsWith(".") ? reason : `${reason}.`;
}
