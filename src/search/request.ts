/** One HTTP request to the search engine. */
export interface SearchRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Begins with a slash; names in it are already percent-encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** Bytes and strings are sent as they are, objects as JSON. */
  readonly body?: Buffer | string | object;
  /** `application/json` unless given. */
  readonly contentType?: string;
  /** What is asked, continuing "The search engine refused to …"; for error messages. */
  readonly doing: string;
  readonly signal?: AbortSignal | undefined;
  /** For the whole exchange, the answer's last byte included; that of the options unless given. */
  readonly timeoutSeconds?: number;
  /** Bytes of the answer that there is room for; no limit unless given. */
  readonly mostBytes?: number;
  /** Do not send it again, to this node or another, when no answer comes: each sending has an effect of its own. */
  readonly singleAttempt?: boolean;
}
