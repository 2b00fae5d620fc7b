import { isObject, type JsonObject, type JsonValue } from "../schema/tree.ts";

/**
 * A field as dynamic mapping would see it, for the conditions of a dynamic template
 * (https://www.elastic.co/docs/manage-data/data-store/mapping/dynamic-templates).
 */
export interface SeenField {
  /** The names from the root, joined with dots. */
  readonly path: string;
  /** What Elasticsearch detects in the JSON value. */
  readonly kind: "string" | "long" | "double" | "boolean" | "date" | "object";
}

/**
 * Finds the first dynamic template that takes the field, as Elasticsearch would.
 *
 * @param templates the value of `dynamic_templates`: a list of objects {name: template}
 * @returns the template, or null where none fits
 */
export function findTemplate(templates: JsonValue | undefined, field: SeenField): JsonObject | null {
  if (!Array.isArray(templates)) return null;
  for (const entry of templates) {
    if (!isObject(entry)) continue;
    const [template] = Object.values(entry);
    if (isObject(template) && fits(template, field)) return template;
  }
  return null;
}

function fits(template: JsonObject, { path, kind }: SeenField): boolean {
  const name = path.slice(path.lastIndexOf(".") + 1);
  const matches = template["match_pattern"] === "regex" ? matchesRegex : matchesSimple;
  const included = (key: string, text: string, test: typeof matches) => {
    const patterns = toList(template[key]);
    return patterns.length === 0 || patterns.some((pattern) => test(pattern, text));
  };
  const excluded = (key: string, text: string, test: typeof matches) =>
    toList(template[key]).some((pattern) => test(pattern, text));
  // Types are compared by name; `*` stands for all.
  const isKind = (pattern: string, text: string) => pattern === "*" || pattern === text;
  return included("match", name, matches) && !excluded("unmatch", name, matches) &&
    included("path_match", path, matches) && !excluded("path_unmatch", path, matches) &&
    included("match_mapping_type", kind, isKind) && !excluded("unmatch_mapping_type", kind, isKind);
}

/** Elasticsearch's simple patterns: `*` stands for any text. */
function matchesSimple(pattern: string, text: string): boolean {
  const escaped = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join(".*")}$`, "s").test(text);
}

/** A pattern that JavaScript cannot read is Elasticsearch's to judge: it is taken as fitting nothing. */
function matchesRegex(pattern: string, text: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`).test(text);
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

function toList(value: JsonValue | undefined): string[] {
  if (typeof value === "string") return [value];
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
