import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RefusalLog } from "../../src/documents/refusal_log.ts";

function refusal(id: string, reason = "no such field") {
  return {
    index: "books",
    id,
    operation: "index" as const,
    status: 400,
    type: "mapper_parsing_exception",
    reason,
    position: null,
    version: 1n,
  };
}

describe("The log of refusals", () => {
  it("tells each with its reason, the first ten of a minute; then how many more there were", () => {
    const lines: { readonly message: string; readonly properties: Record<string, unknown> }[] = [];
    const log = new RefusalLog("books", (message, properties) => lines.push({ message, properties }));
    log.tell([]);
    log.tell(Array.from({ length: 7 }, (_, n) => refusal(String(n))));
    log.tell(Array.from({ length: 7 }, (_, n) => refusal(String(n + 7))));
    assert.deepEqual(lines.map(({ properties }) => properties.id), [..."0123456789"]);
    assert.equal(lines[0]?.properties.reason, "no such field");
    log.flush();
    assert.equal(lines.length, 11);
    assert.equal(lines.at(-1)?.properties.count, 4);
    log.flush();
    assert.equal(lines.length, 11, "nothing was left out since");
    log.tell([refusal("14")]);
    assert.equal(lines.at(-1)?.properties.id, "14");
    log.flush();
    assert.equal(lines.length, 12);
  });

  it("shortens a reason that quotes a large value", () => {
    const reasons: unknown[] = [];
    const log = new RefusalLog("books", (_, { reason }) => reasons.push(reason));
    log.tell([refusal("1", "x".repeat(100_000))]);
    log.flush();
    assert.equal(String(reasons[0]).length, 501);
  });
});
