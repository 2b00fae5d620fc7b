import { buildDocument } from "./build.ts";
import { type Environment, substituteVariables } from "./environment.ts";
import { type Finding, SchemaError, type SchemaProblem, sortByPlace } from "./problem.ts";
import { checkRules } from "./rules.ts";
import type { DocumentInput } from "./shape.ts";
import { checkShape } from "./shape_problems.ts";
import { isJsonObject, parseSyntax, type SourceDocument } from "./syntax.ts";
import type { DocumentSchema, JsonObject, JsonValue, SchemaFile, SchemaWarning } from "./tree.ts";
import { findUnsupported } from "./unsupported.ts";

/**
 * Parses and checks a schema file, YAML or JSON: one document or many, as a list or as a stream. Everything that is
 * wrong is reported together, each with its place.
 *
 * @param text the file's content
 * @param file its name for places: a path, a URL or `<stdin>`
 * @param environment the variables that `database`, `index`, `pipeline` and `routing` may name
 * @throws {SchemaError} SCHEMA_INVALID with all problems; SCHEMA_UNSUPPORTED where the file is right but asks for
 *   what this version does not carry out
 * @throws {PgsyncError} SCHEMA_INVALID where the text is larger than 10 MB
 */
export function parseSchema(text: string, file: string, environment: Environment): SchemaFile {
  const source = parseSyntax(text, file);
  const problems: SchemaProblem[] = [...source.problems];
  const warnings: SchemaWarning[] = [];
  const checked: { input: DocumentInput; source: SourceDocument }[] = [];
  for (const document of source.documents) {
    const locate = toPlaced(document);
    const { value, findings } = fillVariables(document.value, environment);
    warnings.push(...findings.map(locate));
    const shape = checkShape(value);
    problems.push(...[...shape.findings, ...checkRules(value)].map(locate));
    if (shape.document !== null) checked.push({ input: shape.document, source: document });
  }
  if (problems.length > 0) throw new SchemaError("SCHEMA_INVALID", problems);

  const unsupported: SchemaProblem[] = [];
  const documents: DocumentSchema[] = [];
  for (const { input, source } of checked) {
    const locate = toPlaced(source);
    const index = input.index ?? input.database;
    if (documents.some((earlier) => earlier.database === input.database && earlier.index === index)) {
      const message =
        `a document before it has the database "${input.database}" and the index "${index}" too: ` +
        "this one is ignored";
      warnings.push(locate({ path: [], at: "value", message }));
      continue;
    }
    unsupported.push(...findUnsupported(input).map(locate));
    const built = buildDocument(input, (path, at) => source.place(path, at));
    documents.push(built.document);
    warnings.push(...built.warnings.map(locate));
  }
  if (unsupported.length > 0) throw new SchemaError("SCHEMA_UNSUPPORTED", unsupported);
  return { source: file, documents, warnings: sortByPlace(warnings) };
}

function toPlaced(document: SourceDocument): (finding: Finding) => SchemaProblem {
  return ({ path, at, message }) => ({ place: document.place(path, at), message });
}

/** Fills variables in the strings at the top of a document, as PGSync does; those further in stay as they are. */
function fillVariables(
  document: JsonValue,
  environment: Environment,
): { value: JsonValue; findings: Finding[] } {
  if (!isJsonObject(document)) return { value: document, findings: [] };
  const value: JsonObject = {};
  const findings: Finding[] = [];
  for (const [key, part] of Object.entries(document)) {
    if (typeof part !== "string") {
      value[key] = part;
      continue;
    }
    const { text, missing } = substituteVariables(part, environment);
    value[key] = text;
    for (const name of missing) {
      findings.push({
        path: [key],
        at: "value",
        message: `the environment has no variable ${name}: it stays as it is written`,
      });
    }
  }
  return { value, findings };
}
