import assert from "node:assert/strict";
import { SchemaError } from "../../src/schema/problem.ts";
import { parseSchema } from "../../src/schema/parse.ts";
import type { Environment } from "../../src/schema/environment.ts";
import type { NodeSchema, SchemaFile } from "../../src/schema/tree.ts";

/** Parses a schema file named `s.yaml`. */
export function parse(text: string, environment: Environment = {}): SchemaFile {
  return parseSchema(text, "s.yaml", environment);
}

/** The root node of the only document. */
export function rootOf(text: string): NodeSchema {
  const { documents } = parse(text);
  assert.equal(documents.length, 1);
  const [document] = documents;
  assert.ok(document);
  return document.root;
}

/** The lines of the error that a text gives, each `file:line:column: path: message`. */
export function problemsOf(text: string, environment: Environment = {}): string[] {
  return errorOf(text, environment).message.split("\n");
}

/** The error that a text gives. */
export function errorOf(text: string, environment: Environment = {}): SchemaError {
  try {
    parse(text, environment);
  } catch (error) {
    assert.ok(error instanceof SchemaError, String(error));
    return error;
  }
  assert.fail("the text was accepted");
}

/** The warnings that a text gives, as `line:column: message`. */
export function warningsOf(text: string, environment: Environment = {}): string[] {
  return parse(text, environment).warnings.map(({ place, message }) =>
    `${place.line}:${place.column}: ${message}`
  );
}
