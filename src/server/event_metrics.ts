import { Counter, Histogram, type Registry } from "prom-client";
import type { SyncEvent, SyncObserver } from "../status/status.ts";

/** From a millisecond to a minute: an idle system answers in tens of milliseconds, a busy one in seconds. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Adds what is counted as events arrive. @returns what takes note of an event */
export function eventCounter(registry: Registry): SyncObserver {
  const registers = [registry];
  const changes = new Counter({
    name: "pgsync_changes_total",
    help: "Row changes received.",
    labelNames: ["table", "operation"],
    registers,
  });
  const bulkRequests = new Counter({
    name: "pgsync_bulk_requests_total",
    help: "Bulk requests that the search engine answered.",
    labelNames: ["index", "source"],
    registers,
  });
  const bulkItems = new Counter({
    name: "pgsync_bulk_items_total",
    help: "Documents in bulk requests, by what became of them.",
    labelNames: ["index", "source", "result"],
    registers,
  });
  const bulkBytes = new Counter({
    name: "pgsync_bulk_bytes_total",
    help: "Bytes of bulk requests, before compression.",
    labelNames: ["index", "source"],
    registers,
  });
  const bulkDuration = new Histogram({
    name: "pgsync_bulk_duration_seconds",
    help: "Time from a bulk request to its answer.",
    labelNames: ["index", "source"],
    buckets: LATENCY_BUCKETS,
    registers,
  });
  const versionConflicts = new Counter({
    name: "pgsync_version_conflicts_total",
    help: "Documents that were older than what the index held already.",
    labelNames: ["index"],
    registers,
  });
  const batches = new Counter({
    name: "pgsync_batches_total",
    help: "Batches of changes of which all documents are acknowledged.",
    registers,
  });
  const batchDocuments = new Counter({
    name: "pgsync_batch_documents_total",
    help: "Documents of those batches.",
    registers,
  });
  const latency = new Histogram({
    name: "pgsync_commit_to_acknowledged_seconds",
    help: "From the oldest commit of a batch to the acknowledgement, by the two machines' clocks.",
    buckets: LATENCY_BUCKETS,
    registers,
  });
  const stages = new Histogram({
    name: "pgsync_batch_stage_duration_seconds",
    help: "Time that a batch spent in each stage.",
    labelNames: ["stage"],
    buckets: LATENCY_BUCKETS,
    registers,
  });
  const retries = new Counter({
    name: "pgsync_retries_total",
    help: "Temporary errors that are tried again.",
    labelNames: ["of", "code"],
    registers,
  });
  const faults = new Counter({
    name: "pgsync_faults_total",
    help: "Errors, by their code.",
    labelNames: ["code"],
    registers,
  });
  const warnings = new Counter({ name: "pgsync_warnings_total", help: "Warnings.", registers });

  return (event: SyncEvent) => {
    switch (event.type) {
      case "changes":
        changes.inc({ table: event.table, operation: event.operation }, event.count);
        break;
      case "bulk": {
        const labels = { index: event.index, source: event.source };
        bulkRequests.inc(labels);
        bulkBytes.inc(labels, event.bytes);
        bulkDuration.observe(labels, event.seconds);
        bulkItems.inc({ ...labels, result: "indexed" }, event.indexed);
        bulkItems.inc({ ...labels, result: "deleted" }, event.deleted);
        bulkItems.inc({ ...labels, result: "conflict" }, event.conflicts);
        bulkItems.inc({ ...labels, result: "dead_letter" }, event.deadLetters);
        versionConflicts.inc({ index: event.index }, event.conflicts);
        break;
      }
      case "refused":
        bulkItems.inc(
          { index: event.index, source: event.source, result: "dead_letter" },
          event.deadLetters,
        );
        break;
      case "batch":
        batches.inc();
        batchDocuments.inc(event.documents);
        // the clocks of two machines may disagree; a negative time is no observation
        if (event.commitToAcknowledgedSeconds !== null) {
          latency.observe(Math.max(0, event.commitToAcknowledgedSeconds));
        }
        stages.observe({ stage: "visibility" }, event.visibilitySeconds);
        stages.observe({ stage: "impact" }, event.impactSeconds);
        stages.observe({ stage: "build" }, event.buildSeconds);
        stages.observe({ stage: "bulk" }, event.bulkSeconds);
        break;
      case "retry":
        retries.inc({ of: event.of, code: event.fault.code });
        break;
      case "fault":
        faults.inc({ code: event.fault.code });
        break;
      case "warning":
        warnings.inc();
        break;
      case "phase":
      case "load":
        break; // read from the status at the scrape
    }
  };
}
