import { test } from "node:test";
import { deepEqual } from "node:assert/strict";
import { readReport, sumOf } from "../../../scripts/tests/report.ts";

const REPORT = `<testsuites><testsuite name="./a.test.ts">
  <testcase name="one &gt; two" classname="./a.test.ts" time="0.1"/>
  <testcase name="skipped" classname="./a.test.ts"><skipped/></testcase>
  <testcase name="says &quot;no&quot; &amp; more" classname="ext:steps"><failure message="x">why</failure></testcase>
</testsuite></testsuites>`;

test("a report's cases are counted, the failed ones named, the skipped ones left out", () => {
  const result = readReport(REPORT);
  deepEqual(result, { passed: 1, failed: 1, failures: ['./a.test.ts: says "no" & more'] });
  deepEqual(sumOf([result, result]).failed, 2);
});
