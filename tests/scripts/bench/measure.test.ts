import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { difference, histogram, histogramQuantile } from "../../../scripts/bench/measure/metrics.ts";
import { cpuOf, cpuOfFamily, memoryOf, memoryOfFamily } from "../../../scripts/bench/measure/usage.ts";
import { childrenOf, startChild } from "../../../scripts/servers/process.ts";
import { eventually } from "../../support/eventually.ts";
import { median, quantile } from "../../../scripts/bench/measure/statistics.ts";

test("the median is the middle, or between the two in the middle", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 2, 100]), 3);
});

test("a quantile is a number that was measured", () => {
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual([0.5, 0.95, 0.99, 1].map((share) => quantile(hundred, share)), [50, 95, 99, 100]);
  assert.equal(quantile([7], 0.5), 7);
});

const metrics = (build: readonly [number, number, number]) =>
  `# TYPE stage_seconds histogram
stage_seconds_bucket{le="0.01",stage="build"} ${build[0]}
stage_seconds_bucket{le="0.1",stage="build"} ${build[1]}
stage_seconds_bucket{le="+Inf",stage="build"} ${build[2]}
stage_seconds_sum{stage="build"} ${build[2] / 10}
stage_seconds_count{stage="build"} ${build[2]}
stage_seconds_bucket{le="0.01",stage="bulk"} 77
`;

test("a histogram is read by its labels, and what happened between two readings is their difference", () => {
  const [earlier, later] = [[1, 1, 1], [11, 101, 101]].map(([a = 0, b = 0, c = 0]) =>
    histogram(metrics([a, b, c]), "stage_seconds", 'stage="build"')
  );
  assert.ok(earlier && later);
  const between = difference(later, earlier);
  assert.equal(between.count, 100);
  assert.equal(between.sum, 10);
  assert.deepEqual(between.buckets.map(({ count }) => count), [10, 100, 100]);
  // The 50th of 100: 40 of the 90 that lie between 0.01 and 0.1.
  assert.ok(Math.abs(histogramQuantile(between, 0.5) - 0.05) < 1e-9);
});

test("a process answers for those below it: their CPU, and their memory without what they share", async (t) => {
  // The shells in the middle wait; what they have begun works.
  const work = "while :; do :; done";
  const child = await startChild({ command: "sh", args: ["-c", `sh -c "sh -c '${work}'; :"; :`] });
  t.after(() => child.stop("SIGKILL"));
  await eventually(() => cpuOfFamily(child.pid) >= 0.1);
  assert.ok(cpuOf(child.pid) < 0.1);
  const [one, all] = [memoryOf(child.pid), memoryOfFamily(child.pid)];
  assert.ok(one !== null && all !== null);
  // Three times the same program: its file's pages count once.
  assert.ok(
    all.resident > one.resident / 2 && all.resident < 3 * one.resident,
    `${all.resident} ${one.resident}`,
  );
  assert.equal(memoryOfFamily(2 ** 30), null);
});

test("CPU of children that have ended and were waited for counts, too", async (t) => {
  const loop = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
  const child = await startChild({ command: "sh", args: ["-c", `sh -c '${loop}'; sleep 60 & wait`] });
  t.after(() => child.stop("SIGKILL"));
  await eventually(() =>
    childrenOf(child.pid).some((pid) => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n")
  );
  assert.ok(cpuOfFamily(child.pid) > cpuOf(child.pid) + 0.01);
});
