/**
 * The metrics of a run, in Prometheus' terms: counters end with `_total`, sizes are bytes, times seconds
 * (https://prometheus.io/docs/practices/naming/). What happens is counted as events arrive; what is, is read from the
 * status when Prometheus asks.
 */
import process from "node:process";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Phase, RunStatus, SyncEvent, SyncObserver, SyncStatus } from "../status/status.ts";
import { lagBytes, lagSeconds } from "./status_json.ts";

/** The metrics of one run. */
export interface Metrics {
  readonly registry: Registry;
  /** Counts an event. */
  readonly observe: SyncObserver;
}

const PHASES: readonly Phase[] = [
  "starting",
  "loading",
  "catching-up",
  "streaming",
  "stopping",
  "stopped",
  "halted",
];

/** From a millisecond to a minute: an idle system answers in tens of milliseconds, a busy one in seconds. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Makes the metrics of a run.
 *
 * @param status the run's status, asked at each scrape; null while there is none
 */
export function createMetrics(status: () => RunStatus | null, version: string): Metrics {
  const registry = new Registry();
  const registers = [registry];
  new Gauge({
    name: "pgsync_build_info",
    help: "Always 1; the version is the label.",
    labelNames: ["version"],
    registers,
  })
    .set({ version }, 1);
  addProcessMetrics(registry);
  addStatusMetrics(registry, status);
  return { registry, observe: eventCounter(registry) };
}

/** RSS and CPU by the names that dashboards expect; prom-client's own collectors are partly wrong on Deno and Bun. */
function addProcessMetrics(registry: Registry): void {
  const registers = [registry];
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory of the process.",
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system CPU time spent.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new Gauge({
    name: "process_start_time_seconds",
    help: "Start of the process since the Unix epoch.",
    registers,
  }).set(Math.round(Date.now() / 1000 - process.uptime()));
}

/** A metric whose samples are made from the status of each database. */
interface StatusMetric {
  readonly type: "gauge" | "counter";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (
    status: SyncStatus,
  ) => readonly { readonly labels: Record<string, string>; readonly value: number | null }[];
}

function ofDatabase(value: (status: SyncStatus) => number | null): StatusMetric["samples"] {
  return (status) => [{ labels: { database: status.database }, value: value(status) }];
}

function ofIndex(value: (index: SyncStatus["indices"][number]) => number): StatusMetric["samples"] {
  return ({ database, indices }) =>
    indices.map((index) => ({ labels: { database, index: index.index }, value: value(index) }));
}

const DATABASE = ["database"];
const INDEX = ["database", "index"];

const STATUS_METRICS: readonly StatusMetric[] = [
  {
    type: "gauge",
    name: "pgsync_ready",
    help: "1 when loaded, streaming, and the search engine takes documents.",
    labels: DATABASE,
    samples: ofDatabase(({ ready }) => Number(ready)),
  },
  {
    type: "gauge",
    name: "pgsync_phase",
    help: "1 for the phase that the run is in, 0 for the others.",
    labels: ["database", "phase"],
    samples: ({ database, phase }) =>
      PHASES.map((each) => ({ labels: { database, phase: each }, value: Number(each === phase) })),
  },
  {
    type: "gauge",
    name: "pgsync_replication_connected",
    help: "1 while the replication stream is connected.",
    labels: DATABASE,
    samples: ofDatabase(({ stream }) => Number(stream.connected)),
  },
  {
    type: "gauge",
    name: "pgsync_replication_lag_bytes",
    help: "WAL between what is confirmed and the server's insert position.",
    labels: DATABASE,
    samples: ofDatabase(lagBytes),
  },
  {
    type: "gauge",
    name: "pgsync_replication_lag_seconds",
    help: "Age of the last change received while anything is unconfirmed, else 0.",
    labels: DATABASE,
    samples: ofDatabase((status) => lagSeconds(status, new Date())),
  },
  {
    type: "gauge",
    name: "pgsync_slot_retained_wal_bytes",
    help: "WAL that the replication slot keeps on the server.",
    labels: DATABASE,
    samples: ofDatabase(({ stream }) => stream.retainedBytes),
  },
  {
    type: "gauge",
    name: "pgsync_slot_safe_wal_bytes",
    help: "WAL that may still be written before the slot is lost; absent where there is no limit.",
    labels: DATABASE,
    samples: ofDatabase(({ stream }) => stream.safeBytes),
  },
  {
    type: "counter",
    name: "pgsync_replication_reconnects_total",
    help: "Times the replication stream was connected again.",
    labels: DATABASE,
    samples: ofDatabase(({ stream }) => stream.reconnects),
  },
  {
    type: "gauge",
    name: "pgsync_dead_letters",
    help: "Documents that the search engine refused and that wait for an operator.",
    labels: INDEX,
    samples: ofIndex(({ deadLetters }) => deadLetters),
  },
  {
    type: "gauge",
    name: "pgsync_load_documents",
    help: "Documents of the initial load that are acknowledged.",
    labels: INDEX,
    samples: ofIndex(({ load }) => load.documents),
  },
  {
    type: "gauge",
    name: "pgsync_load_documents_estimate",
    help: "Rows of the root table, as PostgreSQL estimates them.",
    labels: INDEX,
    samples: ofIndex(({ load }) => load.estimate),
  },
  {
    type: "gauge",
    name: "pgsync_load_chunks",
    help: "Chunks of the initial load.",
    labels: INDEX,
    samples: ofIndex(({ load }) => load.chunks),
  },
  {
    type: "gauge",
    name: "pgsync_load_chunks_done",
    help: "Chunks of the initial load that are acknowledged.",
    labels: INDEX,
    samples: ofIndex(({ load }) => load.chunksDone),
  },
];

function addStatusMetrics(registry: Registry, status: () => RunStatus | null): void {
  for (const { type, name, help, labels, samples } of STATUS_METRICS) {
    const current = () =>
      (status()?.databases ?? []).flatMap((database) =>
        samples(database).flatMap(({ labels, value }) => value === null ? [] : [{ labels, value }])
      );
    const common = { name, help, labelNames: [...labels], registers: [registry] };
    if (type === "gauge") {
      new Gauge({
        ...common,
        collect() {
          this.reset();
          for (const sample of current()) this.set(sample.labels, sample.value);
        },
      });
    } else {
      new Counter({
        ...common,
        collect() {
          this.reset();
          for (const sample of current()) this.inc(sample.labels, sample.value);
        },
      });
    }
  }
}

function eventCounter(registry: Registry): SyncObserver {
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
