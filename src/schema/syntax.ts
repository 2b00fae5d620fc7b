/**
 * From text to values with places. JSON is read as the subset of YAML that it is, so both have one reader and
 * every value knows its line and column.
 */
import * as yaml from "yaml";
import { PgsyncError } from "../errors/error.ts";
import { formatPath, type Path } from "./place.ts";
import type { SchemaProblem } from "./problem.ts";
import type { JsonObject, JsonValue, Place } from "./tree.ts";

/** Larger files are refused: no schema is that large, and a parser's memory is a multiple of its text. */
export const MAX_BYTES = 10 * 1024 * 1024;
/**
 * So many lines, commas, colons and brackets. Each may begin a value, for which the parser makes objects of about a kilobyte: 10 MB of them
 * took 4 GB, and the process with it.
 */
const MAX_MARKS = 300_000;
/** So many values may come from aliases; a file of a few lines can otherwise stand for billions of them. */
const MAX_ALIASED_VALUES = 100_000;
/** A chain of children uses two levels each; far beyond any real schema and far from the end of the stack. */
const MAX_DEPTH = 400;

/** One document of the file: its value, and where each part of it stands. */
export interface SourceDocument {
  readonly value: JsonValue;
  /**
   * Finds the place of a part of the document; where the path leads to nothing, the nearest part around it.
   *
   * @param path inside the document
   * @param at whether the key at the end of the path is meant, or its value
   */
  place(path: Path, at: "key" | "value"): Place;
}

/** A parsed file. Where there are problems the documents are those that could be read nonetheless. */
export interface SourceFile {
  readonly documents: readonly SourceDocument[];
  readonly problems: readonly SchemaProblem[];
}

/**
 * Parses YAML or JSON: a stream of documents, each an object or a list of objects.
 *
 * @param text the file's content
 * @param file the name for places
 * @throws {PgsyncError} SCHEMA_INVALID where the text is larger than 10 MB, or holds more values than a schema file can
 */
export function parseSyntax(text: string, file: string): SourceFile {
  if (text.length > MAX_BYTES || new TextEncoder().encode(text).length > MAX_BYTES) throw tooLarge(file);
  if (hasMoreMarks(text, MAX_MARKS)) throw tooMany(file);
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const lines = new yaml.LineCounter();
  const start: Place = { file, line: 1, column: 1, path: "" };
  let parsed: readonly yaml.Document.Parsed[];
  try {
    parsed = yaml.parseAllDocuments(body, {
      lineCounter: lines,
      prettyErrors: false,
      logLevel: "silent",
      stringKeys: true,
      // Looked for while converting: the parser's own check compares every key with every other.
      uniqueKeys: false,
      resolveKnownTags: false,
    });
  } catch (error) {
    // The parser descends recursively; text made of brackets exhausts the stack before it says so itself.
    if (!(error instanceof RangeError)) throw error;
    return { documents: [], problems: [{ place: start, message: `is nested too deeply` }] };
  }
  const filled = parsed.filter((document) =>
    document.errors.length > 0 || document.warnings.length > 0 || !isEmptyNode(document.contents)
  );
  if (filled.length === 0) {
    return { documents: [], problems: [{ place: start, message: `is empty: it needs ${DOCUMENT}` }] };
  }
  const reader = new Reader(file, lines);
  for (const document of filled) reader.readYamlDocument(document, filled.length > 1);
  return { documents: reader.documents, problems: reader.problems };
}

/** The error for a file that is larger than 10 MB. */
export function tooLarge(file: string): PgsyncError {
  return new PgsyncError("SCHEMA_INVALID", `${file} is larger than ${MAX_BYTES / 1024 / 1024} MB.`, {
    remedy:
      "Check that it is a schema file; if it must be that large, divide its documents among several runs.",
  });
}

/** Whether a text holds more than so many marks that may begin or end a value. */
function hasMoreMarks(text: string, most: number): boolean {
  let count = 0;
  for (const _mark of text.matchAll(/[\n\r,:[\]{}*&]/g)) {
    if (++count > most) return true;
  }
  return false;
}

function tooMany(file: string): PgsyncError {
  const marks = MAX_MARKS.toLocaleString("en-US");
  return new PgsyncError(
    "SCHEMA_INVALID",
    `${file} has more than ${marks} lines, commas, colons and brackets, which no schema file has.`,
    {
      remedy:
        "Check that it is a schema file; if it must be that large, divide its documents among several runs.",
    },
  );
}

const DOCUMENT = "a document, an object with `database` and `nodes`";

class Reader {
  readonly documents: SourceDocument[] = [];
  readonly problems: SchemaProblem[] = [];

  constructor(private readonly file: string, private readonly lines: yaml.LineCounter) {}

  readYamlDocument(document: yaml.Document.Parsed, oneOfSeveral: boolean): void {
    const faults = [...document.errors, ...document.warnings];
    if (faults.length > 0) {
      for (const fault of faults) {
        this.problems.push({ place: this.placeAt(fault.pos[0], []), message: describeSyntaxFault(fault) });
      }
      return;
    }
    const contents = document.contents;
    const tree = new YamlTree(
      document,
      (path, offset, message) =>
        this.problems.push({ place: this.placeAt(offset, this.prefix(path, oneOfSeveral)), message }),
    );
    const problemsBefore = this.problems.length;
    const value = tree.toJson();
    if (this.problems.length > problemsBefore) return;
    const place = (prefix: Path, shown: Path) => (path: Path, at: "key" | "value") =>
      this.placeAt(tree.offset([...prefix, ...path], at), [...shown, ...path]);
    if (Array.isArray(value)) {
      if (value.length === 0) {
        const here = this.placeAt(contents?.range?.[0] ?? 0, []);
        this.problems.push({ place: here, message: `is empty: it needs ${DOCUMENT}` });
      }
      for (const [index, item] of value.entries()) {
        const shown = oneOfSeveral ? [this.documents.length] : [index];
        this.add(item, place([index], shown));
      }
    } else {
      this.add(value, place([], oneOfSeveral ? [this.documents.length] : []));
    }
  }

  private add(value: JsonValue, place: SourceDocument["place"]): void {
    if (isJsonObject(value)) {
      this.documents.push({ value, place });
    } else {
      this.problems.push({
        place: place([], "value"),
        message: `must be ${DOCUMENT}, not ${describeValue(value)}`,
      });
    }
  }

  /** Documents of a stream are counted like those of a list. */
  private prefix(path: Path, oneOfSeveral: boolean): Path {
    return oneOfSeveral ? [this.documents.length, ...path] : path;
  }

  private placeAt(offset: number, path: Path): Place {
    const { line, col } = this.lines.linePos(offset);
    // Of a text without any line break the counter knows no line at all.
    return { file: this.file, line: Math.max(line, 1), column: Math.max(col, 1), path: formatPath(path) };
  }
}

type Report = (path: Path, offset: number, message: string) => void;

/** A YAML document as JSON: aliases followed, keys as text, everything bounded. */
class YamlTree {
  private readonly targets = new Map<yaml.Alias, yaml.Node>();
  /** The collections around the value that is being converted. */
  private readonly open = new Set<yaml.Node>();
  private aliasDepth = 0;
  private aliasedValues = 0;
  private exhausted = false;

  constructor(private readonly document: yaml.Document.Parsed, private readonly report: Report) {
    // An alias means the latest anchor of its name before it, so one pass in order of the text finds all.
    const anchors = new Map<string, yaml.Node>();
    yaml.visit(document, {
      Node: (_key, node) => {
        if (yaml.isAlias(node)) {
          const target = anchors.get(node.source);
          if (target !== undefined) this.targets.set(node, target);
        } else if (node.anchor !== undefined) {
          anchors.set(node.anchor, node);
        }
      },
    });
  }

  toJson(): JsonValue {
    return this.convert(this.document.contents, [], this.document.contents?.range?.[0] ?? 0);
  }

  offset(path: Path, at: "key" | "value"): number {
    let node: yaml.Node | null = this.document.contents;
    let offset = node?.range?.[0] ?? 0;
    for (const [depth, segment] of path.entries()) {
      const container: unknown = yaml.isAlias(node) ? this.targets.get(node) : node;
      let next: unknown;
      if (yaml.isMap(container)) {
        const pair = container.items.find((item) => keyText(item.key) === String(segment));
        if (pair === undefined) break;
        if (at === "key" && depth === path.length - 1) return nodeOffset(pair.key) ?? offset;
        next = pair.value;
      } else if (yaml.isSeq(container) && typeof segment === "number") {
        next = container.items[segment];
      }
      if (!yaml.isNode(next)) break;
      node = next;
      offset = nodeOffset(next) ?? offset;
    }
    return offset;
  }

  private convert(node: unknown, path: Path, outer: number): JsonValue {
    if (!yaml.isNode(node)) return null;
    const offset = nodeOffset(node) ?? outer;
    if (path.length > MAX_DEPTH) return this.fail([], offset, `is nested too deeply`);
    if (this.aliasDepth > 0) this.exhausted ||= ++this.aliasedValues > MAX_ALIASED_VALUES;
    if (this.exhausted) return null;
    if (yaml.isAlias(node)) return this.convertAlias(node, path, offset);
    if (yaml.isCollection(node)) {
      this.open.add(node);
      const value = yaml.isSeq(node)
        ? node.items.map((item, index) => this.convert(item, [...path, index], offset))
        : this.convertMap(node, path, offset);
      this.open.delete(node);
      return value;
    }
    const value: unknown = yaml.isScalar(node) ? node.value : undefined;
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    return this.fail(path, offset, `must be a value that JSON has, not ${String(value)}`);
  }

  private convertMap(map: yaml.YAMLMap, path: Path, offset: number): JsonValue {
    const result: JsonObject = {};
    for (const pair of map.items) {
      const key = keyText(pair.key);
      const keyOffset = nodeOffset(pair.key) ?? offset;
      if (key === null) this.fail(path, keyOffset, "has a key that is not plain text");
      else if (key === "__proto__") this.fail(path, keyOffset, `must not have a key "${key}"`);
      else if (Object.hasOwn(result, key)) {
        this.fail([...path, key], keyOffset, `the key "${key}" stands twice`);
      } else result[key] = this.convert(pair.value, [...path, key], keyOffset);
    }
    return result;
  }

  private convertAlias(alias: yaml.Alias, path: Path, offset: number): JsonValue {
    const target = this.targets.get(alias);
    if (target === undefined) {
      return this.fail(path, offset, `the alias *${alias.source} has no anchor &${alias.source} before it`);
    }
    if (this.open.has(target)) {
      return this.fail(path, offset, `the alias *${alias.source} contains itself`);
    }
    this.aliasDepth++;
    const value = this.convert(target, path, offset);
    this.aliasDepth--;
    if (this.aliasDepth === 0 && this.exhausted) {
      const limit = MAX_ALIASED_VALUES.toLocaleString("en-US");
      return this.fail(path, offset, `the aliases stand for more than ${limit} values (an alias bomb)`);
    }
    return value;
  }

  private fail(path: Path, offset: number, message: string): null {
    this.report(path, offset, message);
    return null;
  }
}

/** Whether a value of the schema file is an object. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Names the kind of a value for a message: `a list`, `the number 5`. */
export function describeValue(value: JsonValue): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") return `the text ${JSON.stringify(shorten(value))}`;
  return typeof value === "number" ? `the number ${value}` : String(value);
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

function keyText(key: unknown): string | null {
  const value: unknown = yaml.isScalar(key) ? key.value : key;
  return typeof value === "string" ? value : null;
}

function nodeOffset(node: unknown): number | undefined {
  return yaml.isNode(node) ? node.range?.[0] : undefined;
}

function isEmptyNode(node: yaml.Node | null): boolean {
  return node === null || (yaml.isScalar(node) && node.value === null && (node.source ?? "") === "");
}

/** The parser's sentence in the words of the rest: objects and lists, for JSON and YAML alike. */
function describeSyntaxFault(fault: yaml.YAMLError): string {
  if (fault.code === "TAB_AS_INDENT") return "tabs are not allowed as indentation: use blanks";
  if (fault.code === "RESOURCE_EXHAUSTION") return "is nested too deeply";
  const text = fault.message
    .replace(/ in block \w+ must be sufficiently indented and/, " must")
    .replace(/flow map(ping)?/gi, "object")
    .replace(/flow sequence/gi, "list")
    .replace(/flow collection/gi, "object or list")
    .replace(/block sequence/gi, "list")
    .replace(/block (map(ping)?|collection)/gi, "object")
    .replace(/^Missing closing (["'])quote$/, "the closing quote $1 is missing");
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
