import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { schemaFileShape } from "../../src/schema/shape.ts";

test("the format can be given as JSON Schema", () => {
  const schema = z.toJSONSchema(schemaFileShape, { io: "input" });
  const text = JSON.stringify(schema);
  for (const key of ["database", "nodes", "through_tables", "foreign_key", "delimiter", "one_to_many"]) {
    assert.ok(text.includes(`"${key}"`), key);
  }
  assert.ok(text.includes('"additionalProperties":false'));
});
