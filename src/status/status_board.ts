import { getLogger } from "@logtape/logtape";
import type { PgsyncError } from "../errors/error.ts";
import type { Lsn } from "../replication/lsn.ts";
import { isOfSearch } from "../search/errors.ts";
import type { SearchHealth } from "../search/health.ts";
import { tooManyDeadLetters } from "./dead_letter_limit.ts";
import type {
  Fault,
  IndexStatus,
  LoadStatus,
  Phase,
  StreamStatus,
  SyncObserver,
  SyncStatus,
} from "./status.ts";

/** Faults that are kept to be shown. */
const FAULTS_KEPT = 20;
/** A fault that comes again within this time is told once. */
const REPEATED_WITHIN_MS = 5_000;

/** While a fault lasts it is logged so often. */
const LOGGED_EVERY_MS = 60_000;

const logger = getLogger(["pgsync", "status"]);

/** What the board asks about an index. */
export interface IndexView {
  readonly index: string;
  readonly generation: string;
  readonly indexed: number;
  readonly deleted: number;
  readonly deadLetters: number;
  readonly load: LoadStatus;
  /** The stream must pass it before the index is equal; null while the load is not finished. */
  readonly equalFrom: Lsn | null;
}

/** What the board asks about the stream. */
export interface StreamView {
  readonly connected: boolean;
  readonly confirmed: Lsn;
  readonly received: Lsn;
  readonly lastCommitAt: Date | null;
}

/** The slot as the server last described it. */
export interface SlotView {
  readonly server: Lsn;
  readonly retainedBytes: number;
  readonly safeBytes: number | null;
}

/** How a process stands by. */
export interface StandbyView {
  /** What another process does with the slot: "is held by process 7"; null where none does anything. */
  readonly slot?: string | null;
  /** Why it could not take over; one sentence. */
  readonly problem: string | null;
}

const NO_SLOT: SlotView = { server: 0n, retainedBytes: 0, safeBytes: null };
const NO_STREAM: StreamView = { connected: false, confirmed: 0n, received: 0n, lastCommitAt: null };

/** Keeps what is to be told of the run of one database, and tells it. */
export class StatusBoard {
  readonly #startedAt = new Date();
  #phase: Phase = "starting";
  #faults: Fault[] = [];
  #reconnects = 0;
  #standby: StandbyView = { problem: null };
  /** When each kind of fault was last logged, in milliseconds since 1970. */
  readonly #loggedAt = new Map<string, number>();
  /** Warnings that stand, by what they are about. */
  readonly #standing = new Map<string, { readonly message: string; readonly degree: string | number }>();
  postgresVersion = "";
  searchEngine = "";
  /** When the last look at the tables' definitions began that is completed. */
  tablesLookedAt: Date | null = null;
  /** Why the documents are mapped anew; null while they are not. One sentence. */
  remapping: string | null = null;
  slot: SlotView = NO_SLOT;
  /** With more dead letters it is not ready; 0: however many there are. */
  maxDeadLetters = 0;
  indices: () => readonly IndexView[] = () => [];
  /** Why documents cannot be read from the replica; null where they can, or where there is none. */
  replica: () => string | null = () => null;
  stream: () => StreamView = () => NO_STREAM;

  constructor(
    readonly database: string,
    readonly slotName: string,
    private readonly health: SearchHealth,
    private readonly observe: SyncObserver,
  ) {}

  get phase(): Phase {
    return this.#phase;
  }

  set phase(phase: Phase) {
    if (this.#phase === phase || this.#phase === "halted") return;
    this.#phase = phase;
    this.observe({ type: "phase", phase });
  }

  /** Another process follows the slot, or nobody does yet: what was told of the following holds no more. */
  standBy(view: StandbyView): void {
    this.#standby = view;
    this.#standing.clear();
    this.slot = NO_SLOT;
    this.remapping = null;
    this.tablesLookedAt = null;
    this.indices = () => [];
    this.replica = () => null;
    this.stream = () => NO_STREAM;
    this.phase = "standby";
  }

  /**
   * Something failed and is tried again.
   *
   * @param of what failed; by default the server that the error's code belongs to
   */
  retry(
    error: PgsyncError,
    of: "postgresql" | "search" | "replication" = isOfSearch(error) ? "search" : "postgresql",
  ): void {
    if (of === "replication") this.#reconnects++;
    const fault = { ...toFault(error), next: error.nextOnceConnected };
    const last = this.#faults.at(-1);
    const repeated = last !== undefined && last.code === fault.code && last.message === fault.message &&
      fault.at.getTime() - last.at.getTime() < REPEATED_WITHIN_MS;
    if (!repeated) this.#keep(fault);
    this.#log(of, fault);
    this.observe({ type: "retry", of, fault });
  }

  /** When the log was last told that something of it failed and is tried again, in milliseconds since 1970; null: never. */
  lastLogged(of: "postgresql" | "search" | "replication"): number | null {
    const times = [...this.#loggedAt].filter(([kind]) => kind.startsWith(`${of} `)).map(([, at]) => at);
    return times.length === 0 ? null : Math.max(...times);
  }

  /** Something that the operator should know, and that nothing ends by. */
  warn(message: string): void {
    logger.warn("{message}", { message });
    this.observe({ type: "warning", message });
  }

  /**
   * Something that the operator should know for as long as it lasts: told when it begins or changes, shown until it is over.
   *
   * @param about tells one such thing from another
   * @param message null where it is over
   * @param degree it is told again when this changes, or, of a number, when it grows: for a message whose figures change at each look
   */
  stand(about: string, message: string | null, degree: string | number | null = message): void {
    const before = this.#standing.get(about);
    if (message === null || degree === null) {
      this.#standing.delete(about);
      return;
    }
    this.#standing.set(about, { message, degree });
    if (before === undefined || isWorse(before.degree, degree)) this.warn(message);
  }

  /** Something is wrong that an operator has to mend, and the run goes on as well as it can. */
  fault(error: PgsyncError): void {
    const fault: Fault = { ...toFault(error), next: "retry" };
    this.#keep(fault);
    logger.error("{message} {remedy}", { message: fault.message, remedy: fault.remedy, code: fault.code });
    this.observe({ type: "fault", fault });
  }

  /** Something failed for good. The first of it counts. */
  halt(error: PgsyncError): void {
    if (this.#phase === "halted") return;
    const fault = toFault(error);
    this.#keep(fault);
    this.phase = "halted";
    this.observe({ type: "fault", fault });
  }

  /** Everything as it is now. */
  snapshot(): SyncStatus {
    const indices = this.indices();
    const stream = this.stream();
    const notReady = this.#notReady(indices, stream);
    return {
      phase: this.#phase,
      startedAt: this.#startedAt,
      database: this.database,
      postgresVersion: this.postgresVersion,
      searchEngine: this.searchEngine,
      indices: indices.map(toStatus),
      stream: this.#streamStatus(stream),
      tablesLookedAt: this.tablesLookedAt,
      maxDeadLetters: this.maxDeadLetters === 0 ? null : this.maxDeadLetters,
      ready: notReady.length === 0,
      notReady,
      standby: this.#phase === "standby" && this.#standby.problem === null && this.health.state.healthy,
      warnings: [...this.#standing.values()].map(({ message }) => message),
      faults: this.#faults,
    };
  }

  #notReady(indices: readonly IndexView[], stream: StreamView): string[] {
    if (this.#phase === "standby") return [...this.#whyStandby(), ...this.#searchOutage()];
    const reasons: string[] = [];
    if (this.#phase === "halted") {
      const last = this.#faults.at(-1);
      reasons.push(last === undefined ? "The run has halted." : `Halted: ${last.message}`);
    }
    if (this.remapping !== null) reasons.push(this.remapping);
    if (this.#phase === "starting") reasons.push("The run is starting.");
    if (this.#phase === "catching-up" && this.remapping === null) {
      reasons.push(`Changes of database "${this.database}" that were made meanwhile are being caught up.`);
    }
    if (this.#phase === "stopping" || this.#phase === "stopped") reasons.push("The run has been stopped.");
    for (const { index, load, equalFrom } of indices) {
      if (load.state !== "done") {
        reasons.push(
          `Index "${index}" is being loaded: ${load.chunksDone} of ${load.chunks} chunks are done.`,
        );
      } else if (equalFrom !== null && stream.confirmed < equalFrom) {
        reasons.push(`Index "${index}" is loaded; the changes made meanwhile are being caught up.`);
      }
    }
    if (!stream.connected && this.#phase !== "starting") {
      reasons.push(`The replication stream of database "${this.database}" is not connected.`);
    }
    const replica = this.replica();
    if (replica !== null) reasons.push(`Documents cannot be read from the replica: ${replica}`);
    const deadLetters = indices.reduce((sum, index) => sum + index.deadLetters, 0);
    const tooMany = tooManyDeadLetters(this.database, deadLetters, this.maxDeadLetters);
    if (tooMany !== null) reasons.push(`${tooMany.message} ${tooMany.remedy}`);
    return [...reasons, ...this.#searchOutage()];
  }

  #whyStandby(): string[] {
    const { slot = null, problem } = this.#standby;
    const held = slot === null ? "" : `: the slot "${this.slotName}" ${slot}`;
    return [
      `This process stands by for database "${this.database}"${held}.`,
      ...problem === null ? [] : [`It could not take over now: ${problem}`],
    ];
  }

  #searchOutage(): string[] {
    const { state } = this.health;
    return state.healthy ? [] : [`The search engine does not take documents: ${state.error.message}`];
  }

  #streamStatus(stream: StreamView): StreamStatus {
    return {
      slot: this.slotName,
      publication: this.slotName,
      connected: stream.connected,
      received: stream.received,
      confirmed: stream.confirmed,
      server: this.slot.server > stream.received ? this.slot.server : stream.received,
      retainedBytes: this.slot.retainedBytes,
      safeBytes: this.slot.safeBytes,
      lastCommitAt: stream.lastCommitAt,
      reconnects: this.#reconnects,
    };
  }

  /** Whoever reads the log alone must learn why nothing arrives; but an outage of hours must not fill it. */
  #log(of: string, { code, message, remedy, at }: Fault): void {
    const kind = `${of} ${code}`;
    const last = this.#loggedAt.get(kind);
    if (last !== undefined && Math.abs(at.getTime() - last) < LOGGED_EVERY_MS) return;
    this.#loggedAt.set(kind, at.getTime());
    logger.warn("{message} Trying again. {remedy}", { message, remedy, code });
  }

  #keep(fault: Fault): void {
    this.#faults = [...this.#faults, fault].slice(-FAULTS_KEPT);
  }
}

function isWorse(before: string | number, now: string | number): boolean {
  return typeof before === "number" && typeof now === "number" ? now > before : now !== before;
}

/** An error as it is shown, now. */
function toFault(error: PgsyncError): Fault {
  return { code: error.code, message: error.message, remedy: error.remedy, next: error.next, at: new Date() };
}

function toStatus(view: IndexView): IndexStatus {
  const { index, generation, load, indexed, deleted, deadLetters } = view;
  return { index, generation, load, indexed, deleted, deadLetters };
}
