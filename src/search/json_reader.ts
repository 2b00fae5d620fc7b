/** Where a value stands in bytes of JSON: from `start` up to `end`. */
export interface JsonSpan {
  readonly start: number;
  readonly end: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const BLANK = 0x20;

/**
 * Walks through bytes of JSON from value to value and tells where each stands, so that documents can be cut out of an
 * answer, and compared, as the bytes that they are. It finds the ends of values and does not check them: what it is
 * given comes from PostgreSQL or the search engine, which write JSON only.
 *
 * @example
 * ```ts
 * reader.enter();
 * for (let key = reader.nextKey(); key !== null; key = reader.nextKey()) {
 *   const { start, end } = reader.skip();
 * }
 * ```
 */
export class JsonReader {
  #at: number;
  readonly #end: number;

  /** @param span the value to read; all bytes unless given */
  constructor(private readonly bytes: Uint8Array, span: JsonSpan = { start: 0, end: bytes.length }) {
    this.#at = span.start;
    this.#end = span.end;
  }

  /** What the next value is. @throws SyntaxError where there is none */
  kind(): "object" | "array" | "string" | "other" {
    this.#skipSpace();
    switch (this.#byte()) {
      case OPEN_BRACE:
        return "object";
      case OPEN_BRACKET:
        return "array";
      case QUOTE:
        return "string";
      default:
        return "other";
    }
  }

  /** Goes into the object or array that comes next. @throws SyntaxError where neither does */
  enter(): void {
    const kind = this.kind();
    if (kind !== "object" && kind !== "array") throw this.#unexpected();
    this.#at++;
  }

  /**
   * Goes to the value of the next member of the object that was entered; each value must have been read.
   *
   * @returns its key; null where the object ends, and then it is left
   * @throws SyntaxError where the bytes are not JSON
   */
  nextKey(): string | null {
    if (this.#leave(CLOSE_BRACE)) return null;
    const key = this.string();
    this.#skipSpace();
    if (this.#byte() !== COLON) throw this.#unexpected();
    this.#at++;
    return key;
  }

  /** Goes to the next element of the array that was entered. @returns false where the array ends, and then it is left */
  nextElement(): boolean {
    return !this.#leave(CLOSE_BRACKET);
  }

  /** Reads a string. @throws SyntaxError where none comes next */
  string(): string {
    if (this.kind() !== "string") throw this.#unexpected();
    const { start, end } = this.skip();
    const inner = this.bytes.subarray(start + 1, end - 1);
    const plain = !inner.includes(BACKSLASH);
    const text = decoder.decode(plain ? inner : this.bytes.subarray(start, end));
    return plain ? text : String(JSON.parse(text));
  }

  /** Passes the next value. @returns where it stands @throws SyntaxError where it has no end */
  skip(): JsonSpan {
    this.#skipSpace();
    const start = this.#at;
    let depth = 0;
    do {
      switch (this.#byte()) {
        case OPEN_BRACE:
        case OPEN_BRACKET:
          depth++;
          this.#at++;
          break;
        case CLOSE_BRACE:
        case CLOSE_BRACKET:
          if (depth === 0) throw this.#unexpected();
          depth--;
          this.#at++;
          break;
        case QUOTE:
          this.#skipString();
          break;
        default:
          if (depth === 0) this.#skipWord();
          else this.#at++;
      }
    } while (depth > 0);
    if (this.#at === start) throw this.#unexpected();
    return { start, end: this.#at };
  }

  /**
   * As `skip`, without a look at each byte where the next value is just this text.
   *
   * @param text an object or array: what begins with one has it for its value
   */
  skipExpected(text: Uint8Array): JsonSpan {
    this.#skipSpace();
    const start = this.#at;
    const end = start + text.length;
    if (end > this.#end || Buffer.compare(this.bytes.subarray(start, end), text) !== 0) return this.skip();
    this.#at = end;
    return { start, end };
  }

  /** @returns whether the object or array that was entered ends here */
  #leave(close: number): boolean {
    this.#skipSpace();
    if (this.#byte() === COMMA) {
      this.#at++;
      this.#skipSpace();
    }
    if (this.#byte() !== close) return false;
    this.#at++;
    return true;
  }

  #skipString(): void {
    const { bytes } = this;
    const end = this.#end;
    for (let at = this.#at + 1; at < end; at++) {
      const byte = bytes[at];
      // No byte of a longer UTF-8 character equals one of these.
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) {
        this.#at = at + 1;
        return;
      }
    }
    throw this.#unexpected();
  }

  /** A number, true, false or null. */
  #skipWord(): void {
    for (; this.#at < this.#end; this.#at++) {
      const byte = this.bytes[this.#at] ?? 0;
      if (byte <= BLANK || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET) return;
    }
  }

  #skipSpace(): void {
    while (this.#at < this.#end && (this.bytes[this.#at] ?? 0) <= BLANK) this.#at++;
  }

  #byte(): number {
    const byte = this.#at < this.#end ? this.bytes[this.#at] : undefined;
    if (byte === undefined) throw new SyntaxError("the JSON ends too early");
    return byte;
  }

  #unexpected(): SyntaxError {
    return new SyntaxError(`unexpected JSON at byte ${this.#at}`);
  }
}

const decoder = new TextDecoder();
