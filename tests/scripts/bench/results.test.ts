import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { alternately } from "../../../scripts/bench/bench.ts";
import { chart } from "../../../scripts/bench/chart.ts";
import type { Cost } from "../../../scripts/bench/measure/run.ts";
import { difference, histogram, sumOf } from "../../../scripts/bench/measure/metrics.ts";
import { readOptions } from "../../../scripts/bench/options.ts";
import { report } from "../../../scripts/bench/report.ts";
import {
  atLeast,
  atMost,
  inFigures,
  ratio,
  work,
  type WorkloadResult,
} from "../../../scripts/bench/result.ts";
import { store } from "../../../scripts/bench/store.ts";

const cost = (seconds: number): Cost => ({
  seconds,
  cpu: 1,
  peakRss: 100e6,
  postgresCpu: 2,
  postgresPeakRss: 200e6,
  searchCpu: 7,
  searchPeakRss: 2e9,
  helperCpu: 0,
  helperPeakRss: 0,
  otherCpu: 0,
});

const result = (letter: string, oursSeconds = 2): WorkloadResult => ({
  letter,
  name: "load",
  title: "Loads",
  date: "2026-11-23T00:00:00Z",
  machine: "none",
  loadBefore: 0,
  versions: { postgres: "17" },
  scale: 1,
  measurements: [
    { case: "books & more", candidate: "floor", work: work("documents", 100, [1, 1, 1].map(cost)) },
    {
      case: "books & more",
      candidate: "pgsync",
      work: work("documents", 100, [9, oursSeconds, 1].map(cost)),
    },
    {
      case: "alone",
      candidate: "pgsync",
      work: work("documents", 100, [cost(5)]),
      figures: { "size, MB": 12 },
    },
  ],
  verdicts: [
    ...atMost("time at most 1.1 × the floor's", ratio(oursSeconds, 1), 1.1, " ×"),
    ...atLeast("something of which nothing was found", undefined, 1, ""),
  ],
});

test("all have their turns, and nobody is always the first", async () => {
  const turns: string[] = [];
  const results = await alternately(["a", "b", "c"], 2, (party, round) => {
    turns.push(`${party}${round}`);
    return Promise.resolve(round);
  });
  assert.deepEqual(turns, ["a1", "b1", "c1", "c2", "b2", "a2"]);
  assert.deepEqual(results, [["a", [1, 2]], ["b", [1, 2]], ["c", [1, 2]]]);
});

test("rounds are put together by the median of each figure", () => {
  const { median, perSecond } = work("documents", 100, [9, 2, 1].map(cost));
  assert.equal(median.seconds, 2);
  assert.equal(perSecond, 50);
});

test("a limit is met when it is reached, and there is no verdict on what was not measured", () => {
  assert.deepEqual(atMost("t", 12, 12, " ms"), [{ target: "t", found: "12.0 ms", isMet: true }]);
  assert.deepEqual(atMost("t", 12.1, 12, " ms").map(({ isMet }) => isMet), [false]);
  assert.deepEqual(atLeast("t", 0.7, 0.7, "").map(({ isMet }) => isMet), [true]);
  assert.deepEqual(atLeast("t", 0.69, 0.7, "").map(({ isMet }) => isMet), [false]);
  assert.deepEqual(atLeast("t", ratio(1, undefined), 0.7, ""), []);
});

test("three figures count", () => {
  assert.deepEqual([0, 0.01234, 0.1234, 1.234, 12.34, 1234.5].map(inFigures), [
    ...["0", "0.012", "0.123", "1.23", "12.3", "1235"],
  ]);
});

test("readings of a histogram can be added up", () => {
  const reading = histogram('t_bucket{le="1"} 3\nt_bucket{le="+Inf"} 4\nt_sum 9\nt_count 4\n', "t");
  const both = sumOf([reading, reading]);
  assert.deepEqual([both.count, both.sum, both.buckets.map(({ count }) => count)], [8, 18, [6, 8]]);
  assert.deepEqual(difference(both, reading), reading);
});

test("the report compares within a case, and tells the targets", () => {
  const lines = report([result("a")]).split("\n");
  const row = (start: string) =>
    lines.find((line) => line.startsWith(start))?.split("|").map((cell) => cell.trim());
  assert.deepEqual(row("| books & more | pgsync")?.slice(3, 10), [
    ...["100 documents", "2.00 s", "9.00, 2.00, 1.00", "50", "0.50", "1.00 s", "10%"],
  ]);
  assert.ok(lines.some((line) => /time at most 1.1 × the floor's \| 2.00 × \| \*\*not met\*\*/.test(line)));
  assert.ok(report([result("a", 1)]).includes("| met"));
});

test("the chart draws bars as long as they are fast, of those that are compared", () => {
  const svg = chart([result("a")]);
  assert.ok(svg.includes(">a: books &amp; more</text>"));
  const [speeds = "", memory = ""] = svg.split("Peak memory");
  const widths = [...speeds.matchAll(/width="([\d.]+)" height="13"/g)].map(([, width]) => Number(width));
  assert.equal(widths.length, 2);
  assert.equal(widths[0], 2 * (widths[1] ?? NaN));
  assert.ok(!speeds.includes("alone") && memory.includes("alone"));
});

test("a run replaces the results of its own workloads only", () => {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    store(folder, [result("b"), result("a")]);
    store(folder, [result("b", 1)]);
    const kept: WorkloadResult[] = JSON.parse(readFileSync(join(folder, "bench.json"), "utf8"));
    assert.deepEqual(kept, [result("a"), result("b", 1)]);
    assert.equal(readFileSync(join(folder, "bench.svg"), "utf8"), chart(kept));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("workloads are chosen by letters or names, and run in their own order", () => {
  const letters = readOptions(["--only", "latency,a,d"])?.workloads.map(({ letter }) => letter);
  assert.deepEqual(letters, ["a", "d", "e"]);
  assert.throws(() => readOptions(["--only", "x"]), /there is no workload "x"/);
});

test("figures of a smaller run do not go into the documentation", () => {
  assert.match(readOptions([])?.folder ?? "", /docs.performance$/);
  assert.match(readOptions(["--scale", "0.1"])?.folder ?? "", /dist.bench$/);
  assert.throws(() => readOptions(["--scale", "0"]), /--scale/);
  assert.throws(() => readOptions(["--rounds", "1.5"]), /--rounds/);
});
