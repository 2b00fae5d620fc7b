import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { fieldOfChild, nodeFields, renamesOfChild } from "../../src/mapping/fields.ts";
import type { NodeSchema } from "../../src/schema/tree.ts";
import { node, relation } from "./fixtures.ts";

const BOOK = relation("book", { id: "int8", title: "text", doc: "jsonb", author: "text" });

describe("the fields of a node", () => {
  it("are all columns of the table, in its order, where none are named", () => {
    assert.deepEqual(names(node("book")), ["id", "title", "doc", "author"]);
  });

  it("are the named columns, in the order of the file", () => {
    assert.deepEqual(names(node("book", { columns: ["title", "id"] })), ["title", "id"]);
  });

  it("carry the column, its type and the way into JSON", () => {
    const [field] = nodeFields(node("book", { columns: ["doc->a->>0"] }), BOOK);
    assert.equal(field?.name, "doc_a_0");
    assert.equal(field.column, "doc");
    assert.equal(field.type.name, "jsonb");
    assert.deepEqual(field.steps, [{ kind: "key", value: "a" }, { kind: "index", value: 0 }]);
    assert.equal(field.asText, true);
  });

  it("may name xmin, which is never among all", () => {
    const [field] = nodeFields(node("book", { columns: ["xmin"] }), BOOK);
    assert.deepEqual([field?.name, field?.type.name], ["xmin", "xid"]);
  });

  it("stand under their new names, numbers among them", () => {
    const renamed = node("book", {
      columns: ["id", "doc->a"],
      transform: { rename: { id: 42, doc_a: "a" } },
    });
    assert.deepEqual(names(renamed), ["42", "a"]);
  });

  it("are not renamed by what every JavaScript object has", () => {
    const odd = relation("odd", { constructor: "text", toString: "text" });
    assert.deepEqual(nodeFields(node("odd"), odd).map(({ name }) => name), ["constructor", "toString"]);
  });

  it("give way to a child's label", () => {
    assert.deepEqual(names(node("book", { children: [node("writer", { label: "author" })] })), [
      "id",
      "title",
      "doc",
    ]);
  });

  it("are one where two have one name: the last", () => {
    const twice = node("book", {
      columns: ["title", "id", "author"],
      transform: { rename: { author: "title" } },
    });
    assert.deepEqual(nodeFields(twice, BOOK).map(({ name, column }) => [name, column]), [
      ["id", "id"],
      ["title", "author"],
    ]);
  });

  it("must exist: the place is named, and what was probably meant", () => {
    assert.throws(
      () => names(node("book", { columns: ["titel"] })),
      error(
        "COLUMN_MISSING",
        'Table "public"."book" has no column "titel", which schema.yaml:3:5 ([0].nodes.children[0]) names; ' +
          'did you mean "title"?',
      ),
    );
  });

  it("are reached by a path in JSON columns only", () => {
    assert.throws(
      () => names(node("book", { columns: ["title->a"] })),
      error(
        "SCHEMA_INVALID",
        'schema.yaml:3:5 ([0].nodes.children[0]): "title->a" leads into column "title" of "public"."book", ' +
          "which holds text and no JSON.",
      ),
    );
  });

  function names(schema: NodeSchema): string[] {
    return nodeFields(schema, BOOK).map(({ name }) => name);
  }
});

describe("the field of a child", () => {
  const parent = node("book", { transform: { rename: { writer: "author" } } });

  it("is its label, by default the table's name", () => {
    assert.equal(fieldOfChild(node("book"), node("writer")), "writer");
    assert.equal(fieldOfChild(node("book"), node("writer", { label: "by" })), "by");
  });

  it("may be renamed by the parent, unless the child has renames of its own", () => {
    assert.equal(fieldOfChild(parent, node("writer")), "author");
    assert.equal(fieldOfChild(parent, node("writer", { transform: { rename: { id: "key" } } })), "writer");
  });

  it("takes the renames that the parent nests under its label, where it has none of its own", () => {
    const rename = { writer: { id: "key" } };
    assert.deepEqual(renamesOfChild(rename, node("writer")), { id: "key" });
    assert.deepEqual(renamesOfChild(rename, node("writer", { transform: { rename: { id: "number" } } })), {
      id: "number",
    });
    assert.deepEqual(renamesOfChild({ writer: "author" }, node("writer")), {});
  });
});

/** Accepts an error of this code and sentence. */
function error(code: string, message: string) {
  return (thrown: unknown) => {
    assert.ok(thrown instanceof PgsyncError);
    assert.equal(thrown.code, code);
    assert.equal(thrown.message, message);
    return true;
  };
}
