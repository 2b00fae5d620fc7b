import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { findTemplate, type SeenField } from "../../src/mapping/dynamic_templates.ts";
import type { JsonObject } from "../../src/schema/tree.ts";

describe("a dynamic template takes a field", () => {
  const NAME: SeenField = { path: "publisher.name", kind: "string" };

  it("by the last part of its name", () => {
    assert.ok(takes({ match: "name" }, NAME));
    assert.ok(takes({ match: "n*" }, NAME));
    assert.ok(!takes({ match: "publisher*" }, NAME));
    assert.ok(!takes({ match: "*", unmatch: "*me" }, NAME));
  });

  it("by its whole path", () => {
    assert.ok(takes({ path_match: "publisher.*" }, NAME));
    assert.ok(!takes({ path_match: "publisher.*", path_unmatch: "*.name" }, NAME));
    // A dot is a dot, and no wildcard of a regular expression.
    assert.ok(!takes({ path_match: "publisher?name" }, NAME));
  });

  it("by a regular expression over the whole name", () => {
    assert.ok(takes({ match_pattern: "regex", match: "^n.me$" }, NAME));
    assert.ok(!takes({ match_pattern: "regex", match: "n.m" }, NAME));
    assert.ok(!takes({ match_pattern: "regex", match: "(" }, NAME));
  });

  it("by what is detected in its values", () => {
    assert.ok(takes({ match_mapping_type: "string" }, NAME));
    assert.ok(takes({ match_mapping_type: "*" }, NAME));
    assert.ok(!takes({ match_mapping_type: "long" }, NAME));
    assert.ok(takes({ match_mapping_type: ["long", "string"] }, NAME));
    assert.ok(!takes({ match_mapping_type: "*", unmatch_mapping_type: "string" }, NAME));
  });

  it("if it is the first that fits", () => {
    const templates = [{ a: { match: "other", mapping: {} } }, { b: { match: "name", mapping: {} } }, {
      c: { match: "*", mapping: {} },
    }];
    assert.deepEqual(findTemplate(templates, NAME), { match: "name", mapping: {} });
    assert.equal(findTemplate(undefined, NAME), null);
  });

  function takes(template: JsonObject, field: SeenField): boolean {
    return findTemplate([{ template }], field) !== null;
  }
});
