import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../../src/errors/error.ts";
import { SearchHealth } from "../../../src/search/health.ts";
import { StatusBoard } from "../../../src/status/status_board.ts";
import { forgetFailingLooks, tellFailingLooks } from "../../../src/sync/failing_looks.ts";
import { SourceLoop } from "../../../src/sync/source/source_loop.ts";
import type { LookResult } from "../../../src/sync/source/source_watch.ts";

/** What a loop tells of looks that end as given: null is a failure. */
async function toldOf(
  looks: readonly (LookResult | null)[],
): Promise<{ readonly told: readonly string[]; readonly since: readonly Date[] }> {
  const ended = new AbortController();
  const told: string[] = [];
  const since: Date[] = [];
  let at = 0;
  const look = () => {
    const result = looks[at++];
    if (at > looks.length) ended.abort();
    return result === null ? Promise.reject(new Error(`look ${at}`)) : Promise.resolve(result ?? FINE);
  };
  const loop = new SourceLoop({ look }, 2, {
    onLook: ({ kind }) => told.push(kind),
    onFailure: (error, first) => {
      told.push(error instanceof Error ? error.message : String(error));
      since.push(first);
    },
  });
  await loop.run(ended.signal);
  return { told, since };
}

const FINE: LookResult = { kind: "fine" };

describe("A loop of looks at the tables", () => {
  it("tells of each look, and since when they have failed", async () => {
    const { told, since } = await toldOf([FINE, null, null, null, FINE, null]);
    assert.deepEqual(told, ["fine", "look 2", "look 3", "look 4", "fine", "look 6"]);
    const [first, second, third, again] = since.map((date) => date.getTime());
    assert.deepEqual([second, third], [first, first], "one that fails after another is no beginning");
    assert.ok((again ?? 0) > (first ?? 0), "one that was completed ends it");
  });
});

describe("Looks at the tables that fail", () => {
  const error = new PgsyncError("POSTGRES_QUERY", "No right to read pg_class.");
  const board = () => new StatusBoard("shop", "pgsync_shop", new SearchHealth(), () => {});

  it("are told of when that lasts, until one is completed", () => {
    const failing = board();
    tellFailingLooks(failing, error, new Date(Date.now() - 1_000));
    assert.deepEqual(failing.snapshot().warnings, [], "PostgreSQL may be back in a moment");
    tellFailingLooks(failing, error, new Date(Date.now() - 60_000));
    assert.match(
      failing.snapshot().warnings.join("\n"),
      /^The tables could not be looked at since 20.*Z, .*No right to read pg_class\.$/,
    );
    forgetFailingLooks(failing);
    assert.deepEqual(failing.snapshot().warnings, []);
  });
});
