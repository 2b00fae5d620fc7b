import assert from "node:assert/strict";
import { test } from "node:test";
import { difference, histogram, histogramQuantile } from "../../../scripts/bench/measure/metrics.ts";
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
