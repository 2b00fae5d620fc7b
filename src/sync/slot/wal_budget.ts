import type { SlotState } from "../../replication/slot.ts";
import { formatBytes, formatDuration } from "../../status/figures.ts";
import { RateMeter } from "../../status/rate.ts";

/** What PostgreSQL says of a slot at one moment; sizes in bytes. */
export interface SlotLook {
  /** Milliseconds of a clock that goes evenly. */
  readonly at: number;
  readonly walStatus: SlotState["walStatus"];
  /** WAL that the slot keeps. */
  readonly retainedBytes: number;
  /** WAL that may still be written before the slot is given up, 0 or less where that may be at any moment; null: no limit, or it is lost. */
  readonly safeBytes: number | null;
  /** WAL beyond what was confirmed. Where the slot keeps much more, an old transaction holds it. */
  readonly unconfirmedBytes: number;
}

/** Something to tell of a slot. */
export interface WalWarning {
  /** Grows with the danger: it is worth another line of the log when it does. */
  readonly level: number;
  /** One or two sentences, with the figures of the last look. */
  readonly message: string;
}

/** The growth is that of so long. A healthy slot moves every 15 s where nobody but the server's own processes write. */
const RATE_WINDOW_MS = 60_000;

/** With less than a share of the budget left, or less time, in seconds, the danger is of this level. */
const LEVELS = [
  { share: 0.1, seconds: 3 * 60 },
  { share: 0.25, seconds: 10 * 60 },
  { share: 0.5, seconds: 30 * 60 },
] as const;

/** A slot that swings around a threshold is not told of at each turn: what was told ends so much above it. */
const RELIEF = 1.2;

/**
 * What is confirmed may be dropped only when PostgreSQL has noted which transactions run, which it does every 15 s where anything is
 * written. Only when that makes no difference for longer does an old transaction hold the slot.
 */
const HELD_FROM_MS = 60_000;

/** Time counts when this share of the budget is used: a small budget lasts for seconds only, also where all is well. */
const TIME_COUNTS_FROM = 0.25;

/** From one look at a slot to the next: is the WAL that it keeps becoming too much, and how long will it do? */
export class WalBudget {
  #growth = new RateMeter(RATE_WINDOW_MS);
  #limited = false;
  #level = 0;
  /** Since when nearly all that is kept is confirmed. */
  #confirmedSince: number | null = null;

  /**
   * @param slot its name
   * @param mostRetainedBytes what a slot without a limit may keep before it is told of; 0: whatever it keeps
   */
  constructor(private readonly slot: string, private readonly mostRetainedBytes: number) {}

  /** Takes note of a look. @returns what is to be told; null where all is well */
  look(look: SlotLook): WalWarning | null {
    const { at, walStatus, retainedBytes, safeBytes, unconfirmedBytes } = look;
    if (walStatus === "lost") {
      // It keeps nothing any more, and no error is louder than the one that the run halts with.
      this.#level = 0;
      return null;
    }
    if (unconfirmedBytes >= retainedBytes / 2) this.#confirmedSince = null;
    else this.#confirmedSince ??= at;
    if (this.#limited !== (safeBytes !== null)) {
      // Somebody has set or unset the limit: what was measured was something else.
      this.#growth = new RateMeter(RATE_WINDOW_MS);
      this.#limited = safeBytes !== null;
      this.#level = 0;
    }
    this.#growth.add(at, safeBytes === null ? retainedBytes : -safeBytes);
    this.#level = safeBytes === null
      ? this.#levelWithoutLimit(retainedBytes)
      : this.#levelOf(look, safeBytes);
    if (this.#level === 0) return null;
    return {
      level: this.#level,
      message: safeBytes === null ? this.#tooMuch(look) : this.#runsOut(look, safeBytes),
    };
  }

  /** One for half of the budget, three for a tenth, four for none. */
  #levelOf({ retainedBytes }: SlotLook, safeBytes: number): number {
    if (safeBytes <= 0) return LEVELS.length + 1;
    const left = safeBytes / (retainedBytes + safeBytes);
    const seconds = left > 1 - TIME_COUNTS_FROM ? null : this.#growth.secondsTo(0);
    for (const [place, most] of LEVELS.entries()) {
      const level = LEVELS.length - place;
      const relief = this.#level >= level ? RELIEF : 1;
      if (left < most.share * relief || (seconds !== null && seconds < most.seconds * relief)) return level;
    }
    return 0;
  }

  /** One more with each doubling. */
  #levelWithoutLimit(retainedBytes: number): number {
    if (this.mostRetainedBytes === 0) return 0;
    const level = (bytes: number) =>
      bytes < this.mostRetainedBytes ? 0 : 1 + Math.floor(Math.log2(bytes / this.mostRetainedBytes));
    return Math.max(level(retainedBytes), Math.min(this.#level, level(retainedBytes * RELIEF)));
  }

  #runsOut(look: SlotLook, safeBytes: number): string {
    const kept = this.#kept(look);
    if (safeBytes <= 0) {
      return `${kept}, which is more than max_slot_wal_keep_size: PostgreSQL may give it up at its next checkpoint, and the ` +
        "documents must then be loaded anew. Raise max_slot_wal_keep_size (it holds at a reload).";
    }
    const rate = this.#growth.perSecond();
    const seconds = this.#growth.secondsTo(0);
    const end = seconds === null
      ? `PostgreSQL gives it up when ${formatBytes(safeBytes)} more are written`
      : `at ${formatBytes(rate)}/s PostgreSQL will give it up in ${formatDuration(seconds)}`;
    return `${kept}; ${end} (max_slot_wal_keep_size), and the documents must then be loaded anew.`;
  }

  #tooMuch(look: SlotLook): string {
    const rate = this.#growth.perSecond();
    const growing = rate === 0 ? "" : `, ${formatBytes(rate)} more each second`;
    return `${
      this.#kept(look)
    }${growing}, and max_slot_wal_keep_size sets no limit: PostgreSQL's disk may fill up.`;
  }

  #kept({ at, retainedBytes }: SlotLook): string {
    const held = this.#confirmedSince !== null && at - this.#confirmedSince >= HELD_FROM_MS
      ? " (an old transaction holds it; all but a part is confirmed)"
      : "";
    return `The replication slot "${this.slot}" keeps ${formatBytes(retainedBytes)} of WAL${held}`;
  }
}
