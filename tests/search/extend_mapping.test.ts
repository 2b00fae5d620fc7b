import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mappingDifference } from "../../src/search/extend_mapping.ts";

describe("The mapping of an index beside the one that is wanted", () => {
  it("lacks what was added, at any depth", () => {
    const held = { id: { type: "integer" }, author: { properties: { name: { type: "text" } } } };
    const wanted = {
      id: { type: "integer" },
      pages: { type: "integer" },
      author: { properties: { name: { type: "text" }, born: { type: "date" } } },
    };
    assert.deepEqual(mappingDifference(held, wanted), {
      lacking: { pages: { type: "integer" }, author: { properties: { born: { type: "date" } } } },
      added: ["pages", "author.born"],
      kept: [],
    });
  });

  it("says the type again of what is no plain object", () => {
    const held = { ratings: { type: "nested", properties: {} } };
    const wanted = { ratings: { type: "nested", properties: { stars: { type: "long" } } } };
    assert.deepEqual(mappingDifference(held, wanted).lacking, wanted);
  });

  it("finds what has dots in its name where the engine keeps it, a level for each", () => {
    const held = { with: { properties: { dot: { properties: { k: { type: "integer" } } } } } };
    const wanted = { "with.dot": { properties: { k: { type: "long" }, "a.b": { type: "text" } } } };
    assert.deepEqual(mappingDifference(held, wanted), {
      lacking: { "with.dot": { properties: { "a.b": { type: "text" } } } },
      added: ["with.dot.a.b"],
      kept: [{ field: "with.dot.k", held: "integer", wanted: "long" }],
    });
  });

  it("keeps the fields that have another type, and those that nobody wants any more", () => {
    const held = { price: { type: "integer" }, old: { type: "text" }, data: { type: "text" } };
    const wanted = { price: { type: "double" }, data: { properties: { a: { type: "text" } } } };
    assert.deepEqual(mappingDifference(held, wanted), {
      lacking: {},
      added: [],
      kept: [
        { field: "price", held: "integer", wanted: "double" },
        { field: "data", held: "text", wanted: "object" },
      ],
    });
  });
});
