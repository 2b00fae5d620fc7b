import { Counter, Gauge, type Registry } from "prom-client";
import type { Phase, RunStatus, SyncStatus } from "../status/status.ts";
import { lagBytes, lagSeconds } from "./status_json.ts";

const PHASES: readonly Phase[] = [
  "standby",
  "starting",
  "loading",
  "catching-up",
  "streaming",
  "stopping",
  "stopped",
  "halted",
];

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
    name: "pgsync_standby",
    help: "1 while another process follows the slot, and this one could take over.",
    labels: DATABASE,
    samples: ofDatabase(({ standby }) => Number(standby)),
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
    name: "pgsync_dead_letters_max",
    help: "Dead letters of all indices beyond which the run is not ready; absent where there is no limit.",
    labels: DATABASE,
    samples: ofDatabase(({ maxDeadLetters }) => maxDeadLetters),
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

const MEMORY_METRICS: readonly {
  readonly name: string;
  readonly help: string;
  readonly value: (memory: RunStatus["memory"]) => number;
}[] = [
  {
    name: "pgsync_memory_held_bytes",
    help: "Bytes that the buffers of the run hold.",
    value: ({ heldBytes }) => heldBytes,
  },
  {
    name: "pgsync_memory_held_max_bytes",
    help: "The most that they have held at once since the start.",
    value: ({ mostBytes }) => mostBytes,
  },
  {
    name: "pgsync_memory_limit_bytes",
    help: "Bytes that the buffers may hold together (--max-memory-mb).",
    value: ({ limitBytes }) => limitBytes,
  },
];

/** Adds what is read from the status at each scrape. */
export function addStatusMetrics(registry: Registry, status: () => RunStatus | null): void {
  for (const { name, help, value } of MEMORY_METRICS) {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        const memory = status()?.memory;
        if (memory !== undefined) this.set(value(memory));
      },
    });
  }
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
