/** Which documents that seem to differ are wrong, by what was seen of them at each look. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Difference } from "../../src/verify/comparison.ts";
import { settle } from "../../src/verify/settle.ts";

type Look = Partial<Difference> | null;

/** Settles one document that is seen so at each look; null where it is as it should be. The last look lasts. */
async function settled(looks: readonly Look[], streams = true) {
  let looked = 0;
  let passed = 0;
  const comparison = {
    ids(ids: readonly string[]): Promise<Difference[]> {
      assert.equal(passed, streams ? looked : 0, "the stream passes between two looks");
      const look = looks[Math.min(looked++, looks.length - 1)] ?? null;
      return Promise.resolve(look === null ? [] : ids.map((id) => ({ ...SEEN, id, ...look })));
    },
  };
  const pass = () => Promise.resolve(void passed++);
  const never = new AbortController().signal;
  const { differences, unsettled } = await settle(["1"], comparison, streams ? pass : null, never);
  return { kinds: differences.map(({ kind }) => kind), unsettled, looked };
}

const SEEN: Difference = {
  id: "1",
  key: "1",
  kind: "different",
  changes: [],
  reason: null,
  version: 10n,
  mark: "row 1",
};

describe("A document that seems to differ", () => {
  it("is wrong where its version has not changed", async () => {
    assert.deepEqual(await settled([{}, {}]), { kinds: ["different"], unsettled: [], looked: 2 });
    // Its row may have changed, which is on its way.
    assert.deepEqual((await settled([{}, { mark: "row 2" }])).kinds, ["different"]);
  });

  it("is looked at again where it was written meanwhile", async () => {
    const looks = [{}, { version: 12n }, { version: 12n }];
    assert.deepEqual(await settled(looks), { kinds: ["different"], unsettled: [], looked: 3 });
  });

  it("is no difference where it is equal then", async () => {
    assert.deepEqual(await settled([{}, { version: 12n }, null]), { kinds: [], unsettled: [], looked: 3 });
    assert.deepEqual(await settled([null]), { kinds: [], unsettled: [], looked: 1 });
  });

  it("is wrong where it is missing, and its row was there all the time", async () => {
    const missing = { kind: "missing", version: null } as const;
    assert.deepEqual((await settled([missing, missing])).kinds, ["missing"]);
    const looks = [missing, { ...missing, mark: "row 2" }, null];
    assert.deepEqual(await settled(looks), { kinds: [], unsettled: [], looked: 3 });
  });

  it("is looked at again where it is wrong in another way", async () => {
    const extra = { kind: "extra" } as const;
    assert.deepEqual(await settled([{}, extra, extra]), { kinds: ["extra"], unsettled: [], looked: 3 });
  });

  it("is unsettled where it is written again and again", async () => {
    const looks = Array.from({ length: 20 }, (_, at) => ({ version: BigInt(at) }));
    assert.deepEqual(await settled(looks), { kinds: [], unsettled: ["1"], looked: 9 });
  });

  it("is wrong at once where nothing streams", async () => {
    assert.deepEqual(await settled([{}], false), { kinds: ["different"], unsettled: [], looked: 1 });
  });
});
