import { JsonReader, type JsonSpan } from "../search/json_reader.ts";

/** A place where two documents differ. */
export interface ValueDifference {
  /** JSON path: `$.authors[2].name`. */
  readonly path: string;
  /** What PostgreSQL has, as JSON, shortened; null where it has nothing there. */
  readonly expected: string | null;
  /** What the index has, likewise. */
  readonly found: string | null;
}

/** The longest JSON of a value that is told whole, in characters. */
const LONGEST_VALUE = 80;

/**
 * Where two JSON texts differ as values: by keys and elements, by the digits of numbers (1.0 is not 1.00, and nothing is
 * rounded), by the characters of strings (however they are escaped). The order of keys and blanks between tokens do not count.
 *
 * @param expected JSON, UTF-8; as `found` it must be valid
 * @param most so many places are told
 * @returns empty where they are equal
 */
export function valueDifferences(expected: Uint8Array, found: Uint8Array, most: number): ValueDifference[] {
  const comparison = new Comparer(expected, found, most);
  comparison.compare(whole(expected), whole(found), "$");
  return comparison.differences;
}

class Comparer {
  readonly differences: ValueDifference[] = [];

  constructor(
    private readonly expected: Uint8Array,
    private readonly found: Uint8Array,
    private readonly most: number,
  ) {}

  /** @param left in `expected` @param right in `found` */
  compare(left: JsonSpan | undefined, right: JsonSpan | undefined, path: string): void {
    if (this.differences.length >= this.most) return;
    if (left === undefined || right === undefined) {
      this.#differ(left, right, path);
      return;
    }
    if (Buffer.compare(slice(this.expected, left), slice(this.found, right)) === 0) return;
    const kind = new JsonReader(this.expected, left).kind();
    if (kind !== new JsonReader(this.found, right).kind()) this.#differ(left, right, path);
    else if (kind === "object") {
      const [own, other] = [members(this.expected, left), members(this.found, right)];
      for (const key of new Set([...own.keys(), ...other.keys()])) {
        this.compare(own.get(key), other.get(key), `${path}${step(key)}`);
      }
    } else if (kind === "array") {
      const [own, other] = [elements(this.expected, left), elements(this.found, right)];
      for (let at = 0; at < Math.max(own.length, other.length); at++) {
        this.compare(own[at], other[at], `${path}[${at}]`);
      }
    } else if (kind !== "string" || text(this.expected, left) !== text(this.found, right)) {
      this.#differ(left, right, path);
    }
  }

  #differ(left: JsonSpan | undefined, right: JsonSpan | undefined, path: string): void {
    this.differences.push({
      path,
      expected: left === undefined ? null : shown(this.expected, left),
      found: right === undefined ? null : shown(this.found, right),
    });
  }
}

/** The value without blanks around it. */
function whole(bytes: Uint8Array): JsonSpan {
  return new JsonReader(bytes).skip();
}

function slice(bytes: Uint8Array, { start, end }: JsonSpan): Uint8Array {
  return bytes.subarray(start, end);
}

/** Of a key that stands twice the last counts; the search engine takes no such document. */
function members(bytes: Uint8Array, span: JsonSpan): Map<string, JsonSpan> {
  const reader = new JsonReader(bytes, span);
  const found = new Map<string, JsonSpan>();
  reader.enter();
  for (let key = reader.nextKey(); key !== null; key = reader.nextKey()) found.set(key, reader.skip());
  return found;
}

function elements(bytes: Uint8Array, span: JsonSpan): JsonSpan[] {
  const reader = new JsonReader(bytes, span);
  const found: JsonSpan[] = [];
  reader.enter();
  while (reader.nextElement()) found.push(reader.skip());
  return found;
}

function text(bytes: Uint8Array, span: JsonSpan): string {
  return new JsonReader(bytes, span).string();
}

/** The step from an object to a member, as RFC 9535 writes it. */
function step(key: string): string {
  return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function shown(bytes: Uint8Array, { start, end }: JsonSpan): string {
  // A character is at most four bytes.
  const json = new TextDecoder().decode(bytes.subarray(start, Math.min(end, start + 4 * LONGEST_VALUE)));
  const characters = [...json];
  return characters.length <= LONGEST_VALUE && end - start <= 4 * LONGEST_VALUE
    ? json
    : `${characters.slice(0, LONGEST_VALUE - 1).join("")}…`;
}
