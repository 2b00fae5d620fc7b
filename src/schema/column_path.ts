import { PgsyncError } from "../errors/error.ts";

/** One step into a JSON value. */
export type JsonStep =
  | { readonly kind: "key"; readonly value: string }
  /** A position in a list, from 0. (After `#>` PostgreSQL takes digits as a key too, where the value is an object.) */
  | { readonly kind: "index"; readonly value: number };

/** An entry of `columns`: a plain column, or a path into a JSON column. */
export interface ColumnExpression {
  /** The entry as written. */
  readonly text: string;
  readonly column: string;
  /** The steps into the JSON value; empty for a plain column. */
  readonly steps: readonly JsonStep[];
  /** How the steps were written: one by one (`->`), as a list (`#>`), or not at all. */
  readonly operator: "->" | "#>" | null;
  /** The value is wanted as text (`->>`, `#>>`), not as JSON. */
  readonly asText: boolean;
  /** The field of the document where `transform.rename` says nothing else: `j->k->0` stands under `j_k_0`. */
  readonly field: string;
}

const OPERATOR = /#>>|#>|->>|->/;
/** PostgreSQL takes a list position as `integer`. */
const MAX_INDEX = 2 ** 31 - 1;

/**
 * Parses an entry of `columns`: `name`, `doc->a->0`, `doc->>a`, `doc#>{a,b}` or `doc#>>{a,b}`. Column names
 * may hold blanks. A step of digits is a list position, everything else a key, `-1` too.
 *
 * @throws {PgsyncError} SCHEMA_INVALID, saying what is wrong with the entry
 */
export function parseColumn(text: string): ColumnExpression {
  const operator = OPERATOR.exec(text);
  if (operator === null) {
    if (text.trim() === "") throw invalid("a column must not be empty");
    return { text, column: text, steps: [], operator: null, asText: false, field: text };
  }
  const column = text.slice(0, operator.index);
  if (column === "") throw invalid(`"${text}" names no column before ${operator[0]}`);
  if (column !== column.trimEnd()) throw blanks(text, operator[0]);
  const rest = text.slice(operator.index);
  return rest.startsWith("#") ? parseListForm(text, column, rest) : parseArrowForm(text, column, rest);
}

function parseArrowForm(text: string, column: string, rest: string): ColumnExpression {
  const pieces = rest.split(/(->>|->|#>>|#>)/).slice(1);
  const keys: string[] = [];
  let asText = false;
  for (let i = 0; i < pieces.length; i += 2) {
    const operator = pieces[i] ?? "";
    const key = pieces[i + 1] ?? "";
    if (operator.startsWith("#")) throw invalid(`"${text}" mixes -> with ${operator}: use one of them`);
    if (asText) throw invalid(`"${text}" goes on after ->>, which gives text: only the last step may be ->>`);
    if (key === "") throw invalid(`"${text}" has no key after ${operator}`);
    if (key !== key.trim()) throw blanks(text, operator);
    if (/^'.*'$/s.test(key)) {
      throw invalid(`"${text}" has a key in quotes: write ${operator}${key.slice(1, -1)}`);
    }
    asText = operator === "->>";
    keys.push(key);
  }
  return {
    text,
    column,
    steps: keys.map((key) => toStep(text, key)),
    operator: "->",
    asText,
    field: [column, ...keys].join("_"),
  };
}

function parseListForm(text: string, column: string, rest: string): ColumnExpression {
  const operator = rest.startsWith("#>>") ? "#>>" : "#>";
  const list = rest.slice(operator.length);
  if (list !== list.trim()) throw blanks(text, operator);
  if (!list.startsWith("{") || !list.endsWith("}") || list.length < 2) {
    throw invalid(`"${text}" needs a list of keys in braces after ${operator}, as ${operator}{a,b}`);
  }
  const inner = list.slice(1, -1);
  return {
    text,
    column,
    steps: splitList(text, inner).map((key) => toStep(text, key)),
    operator: "#>",
    asText: operator === "#>>",
    field: `${column}_${inner}`,
  };
}

/** The elements of a PostgreSQL array literal of one dimension, without its braces. */
function splitList(text: string, inner: string): string[] {
  const element = /\s*(?:"((?:[^"\\]|\\.)*)"|([^",{}\\]*))\s*(?:,|$)/sy;
  const keys: string[] = [];
  while (element.lastIndex <= inner.length) {
    const match = element.exec(inner);
    const key = match?.[1]?.replace(/\\(.)/gs, "$1") ?? match?.[2]?.trim();
    if (match === null || key === undefined || key === "") {
      throw invalid(`"${text}" does not have plain keys, separated by commas, in its braces`);
    }
    keys.push(key);
    if (!match[0].endsWith(",")) break;
  }
  return keys;
}

function toStep(text: string, key: string): JsonStep {
  if (!/^[0-9]+$/.test(key)) return { kind: "key", value: key };
  const value = Number(key);
  if (value > MAX_INDEX) throw invalid(`"${text}" has a list position beyond ${MAX_INDEX}`);
  return { kind: "index", value };
}

function blanks(text: string, operator: string): PgsyncError {
  return invalid(`"${text}" has blanks beside ${operator}: remove them`);
}

function invalid(message: string): PgsyncError {
  return new PgsyncError("SCHEMA_INVALID", message);
}
