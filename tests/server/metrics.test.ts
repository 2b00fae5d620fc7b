import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "../../src/server/metrics.ts";
import type { SyncEvent } from "../../src/status/status.ts";
import { LOADING, run, STREAMING } from "./sample_status.ts";

const FAULT = { code: "SEARCH_UNREACHABLE", message: "", remedy: "", next: "retry", at: new Date() } as const;

const EVENTS: readonly SyncEvent[] = [
  { type: "phase", phase: "streaming" },
  { type: "changes", table: "public.book", operation: "update", count: 7 },
  { type: "changes", table: "public.book", operation: "update", count: 3 },
  {
    type: "bulk",
    index: "books",
    source: "stream",
    indexed: 5,
    deleted: 1,
    conflicts: 2,
    deadLetters: 1,
    bytes: 1234,
    seconds: 0.02,
  },
  {
    type: "batch",
    changes: 10,
    documents: 6,
    position: 1n,
    commitToAcknowledgedSeconds: 0.03,
    visibilitySeconds: 0.001,
    impactSeconds: 0.002,
    buildSeconds: 0.003,
    bulkSeconds: 0.02,
  },
  { type: "retry", of: "search", fault: FAULT },
  { type: "fault", fault: FAULT },
  { type: "warning", message: "" },
];

async function scrape(...events: readonly SyncEvent[]): Promise<string> {
  const metrics = createMetrics(() => run(STREAMING, { ...LOADING, database: "store" }), "9.9.9");
  events.forEach(metrics.observe);
  await metrics.registry.metrics(); // a scrape must not add to the next
  return await metrics.registry.metrics();
}

test("names follow Prometheus' conventions", async () => {
  const types = [...(await scrape(...EVENTS)).matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  assert.ok(types.length > 20);
  for (const [, name = "", type] of types) {
    assert.match(name, /^(pgsync|process)_[a-z_]+$/);
    assert.equal(name.endsWith("_total"), type === "counter", `${name} is a ${type}`);
    if (type === "histogram") assert.match(name, /_(seconds|bytes)$/);
    assert.doesNotMatch(name, /_(ms|millis|milliseconds|kb|mb)(_|$)/, "base units only");
    assert.doesNotMatch(name, /(seconds|bytes)_(?!total$)/, `${name}: the unit comes last`);
  }
});

test("every metric has a help text", async () => {
  const text = await scrape();
  for (const [, name = ""] of text.matchAll(/^# TYPE (\S+) /gm)) {
    assert.match(text, new RegExp(`^# HELP ${name} \\S.{5,}$`, "m"));
  }
});

test("what happens is counted", async () => {
  const text = await scrape(...EVENTS);
  for (
    const sample of [
      'pgsync_changes_total{table="public.book",operation="update"} 10',
      'pgsync_bulk_requests_total{index="books",source="stream"} 1',
      'pgsync_bulk_bytes_total{index="books",source="stream"} 1234',
      'pgsync_bulk_items_total{index="books",source="stream",result="indexed"} 5',
      'pgsync_bulk_items_total{index="books",source="stream",result="dead_letter"} 1',
      'pgsync_version_conflicts_total{index="books"} 2',
      'pgsync_bulk_duration_seconds_sum{index="books",source="stream"} 0.02',
      "pgsync_batches_total 1",
      "pgsync_batch_documents_total 6",
      "pgsync_commit_to_acknowledged_seconds_count 1",
      'pgsync_batch_stage_duration_seconds_sum{stage="build"} 0.003',
      'pgsync_retries_total{of="search",code="SEARCH_UNREACHABLE"} 1',
      'pgsync_faults_total{code="SEARCH_UNREACHABLE"} 1',
      "pgsync_warnings_total 1",
    ]
  ) assert.ok(text.split("\n").includes(sample), `${sample} is missing in\n${text}`);
});

test("what is, is read from the status when Prometheus asks", async () => {
  const text = await scrape();
  for (
    const sample of [
      'pgsync_build_info{version="9.9.9"} 1',
      'pgsync_ready{database="shop"} 1',
      'pgsync_ready{database="store"} 0',
      'pgsync_phase{database="shop",phase="streaming"} 1',
      'pgsync_phase{database="shop",phase="loading"} 0',
      'pgsync_replication_lag_bytes{database="shop"} 256',
      'pgsync_replication_lag_seconds{database="shop"} 0',
      'pgsync_slot_retained_wal_bytes{database="shop"} 4096',
      'pgsync_slot_safe_wal_bytes{database="store"} 1000000',
      'pgsync_replication_reconnects_total{database="shop"} 3',
      'pgsync_dead_letters{database="shop",index="books"} 2',
      'pgsync_load_documents{database="shop",index="books"} 20000',
      "pgsync_memory_held_bytes 2097152",
      "pgsync_memory_held_max_bytes 4194304",
      "pgsync_memory_limit_bytes 67108864",
    ]
  ) assert.ok(text.split("\n").includes(sample), `${sample} is missing in\n${text}`);
  assert.doesNotMatch(text, /safe_wal_bytes\{database="shop"\}/, "without a limit there is no figure");
});

test("the process's memory and CPU time are told", async () => {
  const text = await scrape();
  assert.ok(Number(/^process_resident_memory_bytes (\d+)$/m.exec(text)?.[1]) > 10_000_000);
  assert.ok(Number(/^process_cpu_seconds_total ([\d.e-]+)$/m.exec(text)?.[1]) > 0);
});

test("before there is a status the scrape works too", async () => {
  const { registry } = createMetrics(() => null, "9.9.9");
  assert.match(await registry.metrics(), /^# TYPE pgsync_ready gauge$/m);
});
