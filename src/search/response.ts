import type { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import { engineError, judge, refusal, type Verdict } from "./errors.ts";

/** An answer of the search engine, of whatever status. */
export class SearchResponse {
  #body: { readonly value: unknown } | undefined;
  #text: string | undefined;

  constructor(
    readonly status: number,
    /** The body as it came. */
    readonly bytes: Buffer,
    readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>,
    /** What was asked, continuing "The search engine refused to …". */
    readonly doing: string,
  ) {}

  /** The body as it came: numbers beyond 2^53 keep their digits only here. */
  get text(): string {
    this.#text ??= this.bytes.toString("utf8");
    return this.#text;
  }

  /** The body as JSON; undefined where it is not JSON (a proxy's page, an empty body). */
  get body(): unknown {
    this.#body ??= { value: parseJson(this.text) };
    return this.#body.value;
  }

  /** What the answer was, by status and error type. */
  get verdict(): Verdict {
    return judge(this.status, this.status < 300 ? null : engineError(this.status, this.body).type);
  }

  /** The error for an answer that says no. */
  refusal(): PgsyncError {
    return refusal(this.verdict, this.status, engineError(this.status, this.body), this.doing);
  }

  /** The same answer with another text. */
  withText(text: string): SearchResponse {
    return new SearchResponse(this.status, Buffer.from(text, "utf8"), this.headers, this.doing);
  }

  /**
   * Checks that the answer is good.
   *
   * @throws PgsyncError SEARCH_UNAVAILABLE, SEARCH_LOGIN, INDEX_MISSING or SEARCH_REFUSED
   */
  expectOk(): this {
    if (this.status >= 300) throw this.refusal();
    return this;
  }

  /**
   * The body of a good answer, checked.
   *
   * @throws PgsyncError as `expectOk`; SEARCH_UNAVAILABLE where the body is not what the engine sends (cut short, or a
   *   proxy's page)
   */
  read<T>(schema: z.ZodType<T>): T {
    this.expectOk();
    const parsed = schema.safeParse(this.body);
    if (parsed.success) return parsed.data;
    throw this.incomprehensible(parsed.error);
  }

  /** The error for an answer that is not what the engine sends: cut short, or a proxy's page. */
  incomprehensible(cause: unknown): PgsyncError {
    return new PgsyncError(
      "SEARCH_UNAVAILABLE",
      `The search engine was asked to ${this.doing} and gave an answer that cannot be understood (HTTP ${this.status}).`,
      { cause },
    );
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
