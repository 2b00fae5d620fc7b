import assert from "node:assert/strict";
import { test } from "node:test";
import { divergence, parseTimelineHistory } from "../../src/replication/history.ts";

const HISTORY = "1\t0/5000000\tno recovery target specified\n\n# a remark\n2\t1/A\tbefore 2026-01-01\n";

test("a history file names the ancestors and where each ends", () => {
  assert.deepEqual(parseTimelineHistory(HISTORY), [
    { timeline: 1, endLsn: 0x5000000n },
    { timeline: 2, endLsn: 0x10000000An },
  ]);
  assert.deepEqual(parseTimelineHistory(""), []);
});

test("a position belongs to the server's history up to where its timeline ended, or the server's WAL ends", () => {
  const server = { timeline: 3, lsn: 0x200000000n };
  const judge = (timeline: number, lsn: bigint) =>
    divergence({ timeline, lsn }, server, parseTimelineHistory(HISTORY));
  for (
    const [timeline, lsn] of [
      [1, 0x5000000n],
      [2, 0x10000000An],
      [3, 0x200000000n],
      [3, 0n],
    ] as const
  ) assert.equal(judge(timeline, lsn), null);
  assert.match(
    judge(1, 0x5000001n) ?? "",
    /its timeline 3 left timeline 1 at 0\/5000000, before the position 0\/5000001/,
  );
  assert.match(judge(2, 0x10000000Bn) ?? "", /left timeline 2 at 1\/A/);
  assert.match(judge(3, 0x200000001n) ?? "", /its WAL ends at 2\/0, before the position 2\/1/);
  assert.match(judge(4, 1n) ?? "", /timeline 3 does not descend from timeline 4/);
});
