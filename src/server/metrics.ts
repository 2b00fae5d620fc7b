/**
 * The metrics of a run, in Prometheus' terms: counters end with `_total`, sizes are bytes, times seconds
 * (https://prometheus.io/docs/practices/naming/). What happens is counted as events arrive; what is, is read from the
 * status when Prometheus asks.
 */
import process from "node:process";
import { Counter, Gauge, Registry } from "prom-client";
import type { RunStatus, SyncObserver } from "../status/status.ts";
import { eventCounter } from "./event_metrics.ts";
import { addStatusMetrics } from "./status_metrics.ts";

/** The metrics of one run. */
export interface Metrics {
  readonly registry: Registry;
  /** Counts an event. */
  readonly observe: SyncObserver;
}

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
