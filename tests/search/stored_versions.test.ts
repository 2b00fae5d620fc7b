import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { quoteVersions } from "../../src/search/stored_versions.ts";

test("versions keep all their digits, whatever the ids look like", () => {
  const id = fc.oneof(
    fc.string(),
    fc.constant('"_version":12'),
    fc.constant('\\"_version": 3'),
    fc.constant("_version"),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(id, fc.bigInt({ min: 1n, max: (1n << 63n) - 1n }))), (documents) => {
      const json = `{"docs":[${
        documents.map(([id, version]) => `{"_id":${JSON.stringify(id)},"_version":${version},"found":true}`)
          .join(",")
      }]}`;
      assert.deepEqual(
        JSON.parse(quoteVersions(json)).docs,
        documents.map(([id, version]) => ({ _id: id, _version: String(version), found: true })),
      );
    }),
  );
});
