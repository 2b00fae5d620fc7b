/** From what zod finds to what an operator reads: one sentence per fault, at the key or value that is meant. */
import { z } from "zod";
import type { Path } from "./place.ts";
import type { Finding } from "./problem.ts";
import { type DocumentInput, documentShape } from "./shape.ts";
import { didYouMean } from "./suggest.ts";
import { describeValue, isJsonObject } from "./syntax.ts";
import type { JsonValue } from "./tree.ts";

/** A document of the right shape, or what is wrong with its shape. */
export type ShapeResult =
  | { readonly document: DocumentInput; readonly findings: readonly [] }
  | { readonly document: null; readonly findings: readonly Finding[] };

/** Checks the shape of one document: its keys, and the types of their values. */
export function checkShape(value: JsonValue): ShapeResult {
  const result = documentShape.safeParse(value, { error: describeIssue });
  if (result.success) return { document: result.data, findings: [] };
  return { document: null, findings: result.error.issues.flatMap((issue) => toFindings(issue, [], value)) };
}

function toFindings(issue: z.core.$ZodIssue, prefix: Path, document: JsonValue): Finding[] {
  const path: Path = [...prefix, ...issue.path.map((key) => typeof key === "number" ? key : String(key))];
  if (issue.code === "unrecognized_keys") {
    const allowed = allowedKeys(documentShape, path);
    return issue.keys.map((key) => ({
      path: [...path, key],
      at: "key",
      message: `unknown key "${key}"${didYouMean(key, allowed) || "; "} (allowed: ${allowed.join(", ")})`
        .replace(";  (", " ("),
    }));
  }
  if (issue.code === "invalid_union") {
    // Where one form fits by its type, its own faults say more than "none of the forms fits".
    const near = issue.errors.filter((issues) =>
      !issues.some((inner) => inner.path.length === 0 && isTypeFault(inner))
    );
    const [only] = near;
    if (only !== undefined && near.length === 1) {
      return only.flatMap((inner) => toFindings(inner, path, document));
    }
  }
  const parent = path.slice(0, -1);
  const isMissing = valueAt(document, path) === undefined;
  return [{ path: isMissing ? parent : path, at: "value", message: issue.message }];
}

function isTypeFault(issue: z.core.$ZodIssue): boolean {
  return issue.code === "invalid_type" || issue.code === "invalid_union";
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  array: "a list",
  object: "an object",
  record: "an object",
  int: "a whole number",
};

/** The sentence for an issue whose place in the format gives none of its own. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  const input = issue.input;
  if (input === undefined) return `\`${String(issue.path?.at(-1))}\` is missing`;
  if (issue.code === "invalid_type") {
    const quote = issue.expected === "string" && (typeof input === "number" || typeof input === "boolean");
    const kind = KINDS[issue.expected] ?? issue.expected;
    return `must be ${kind}, not ${describeInput(input)}${quote ? ": put it in quotes" : ""}`;
  }
  if (issue.code === "invalid_value") {
    const values = issue.values.map(String);
    const hint = typeof input === "string" ? didYouMean(input, values) : "";
    return `must be ${values.join(" or ")}, not ${describeInput(input)}${hint}`;
  }
  if (issue.code === "too_small") return "must not be empty";
  return undefined;
}

function describeInput(input: unknown): string {
  const json = z.json().safeParse(input);
  return json.success ? describeValue(json.data) : typeof input;
}

/** The value at a path, or undefined where the path leads to nothing. */
export function valueAt(value: JsonValue, path: Path): JsonValue | undefined {
  let current: JsonValue | undefined = value;
  for (const segment of path) {
    if (Array.isArray(current) && typeof segment === "number") current = current[segment];
    else if (isJsonObject(current)) {
      const key = String(segment);
      current = Object.hasOwn(current, key) ? current[key] : undefined;
    } else return undefined;
  }
  return current;
}

/** The keys that the format has at a path: zod names the unknown ones only. */
function allowedKeys(shape: z.core.$ZodType, path: Path): string[] {
  let shapes = unwrap(shape);
  for (const segment of path) shapes = shapes.flatMap((outer) => stepInto(outer, segment)).flatMap(unwrap);
  return shapes.flatMap((inner) => inner instanceof z.ZodObject ? Object.keys(inner.shape) : []);
}

function stepInto(shape: z.core.$ZodType, segment: string | number): z.core.$ZodType[] {
  if (shape instanceof z.ZodArray) return typeof segment === "number" ? [shape.element] : [];
  if (shape instanceof z.ZodRecord) return [shape.valueType];
  if (!(shape instanceof z.ZodObject)) return [];
  const inner: z.core.$ZodType | undefined = shape.shape[segment];
  return inner === undefined ? [] : [inner];
}

function unwrap(shape: z.core.$ZodType): z.core.$ZodType[] {
  if (shape instanceof z.ZodOptional || shape instanceof z.ZodNullable || shape instanceof z.ZodLazy) {
    return unwrap(shape.unwrap());
  }
  return shape instanceof z.ZodUnion ? shape.options.flatMap(unwrap) : [shape];
}
