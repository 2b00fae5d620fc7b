import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { SearchHealth } from "../../src/search/health.ts";
import type { SyncEvent } from "../../src/status/status.ts";
import { type IndexView, StatusBoard } from "../../src/status/status_board.ts";

const LOADED: IndexView = {
  index: "book",
  generation: "book_1",
  indexed: 1,
  deleted: 0,
  deadLetters: 0,
  load: {
    state: "done",
    documents: 1,
    estimate: 1,
    chunksDone: 1,
    chunks: 1,
    startedAt: null,
    finishedAt: null,
  },
  equalFrom: 10n,
};

function streaming(index: Partial<IndexView> = {}, confirmed = 10n) {
  const events: SyncEvent[] = [];
  const health = new SearchHealth();
  const board = new StatusBoard("shop", "pgsync_shop", health, (event) => events.push(event));
  board.phase = "streaming";
  board.indices = () => [{ ...LOADED, ...index }];
  board.stream = () => ({ connected: true, confirmed, received: 20n, lastCommitAt: null });
  return { board, events, health };
}

describe("The status board", () => {
  it("is ready when all is loaded, the stream has passed the end of the load, and documents are taken", () => {
    assert.equal(streaming().board.snapshot().ready, true);
    assert.match(streaming({}, 9n).board.snapshot().notReady.join(), /caught up/);
    const load = { ...LOADED.load, state: "running" as const, chunksDone: 0 };
    assert.match(streaming({ load, equalFrom: null }).board.snapshot().notReady.join(), /0 of 1 chunks/);
    const { board, health } = streaming();
    health.failed("book_1", new PgsyncError("INTERNAL", "It is away."), new Date());
    assert.match(board.snapshot().notReady.join(), /It is away/);
    health.succeeded("book_1");
    board.stream = () => ({ connected: false, confirmed: 10n, received: 0n, lastCommitAt: null });
    assert.match(board.snapshot().notReady.join(), /not connected/);
  });

  it("is not ready after a restart before what happened meanwhile is caught up", () => {
    const { board } = streaming();
    board.phase = "catching-up";
    assert.match(board.snapshot().notReady.join(), /made meanwhile are being caught up/);
    board.phase = "streaming";
    assert.equal(board.snapshot().ready, true);
  });

  it("stands by while another process follows the slot, and tells what keeps it from taking over", () => {
    const { board, health } = streaming();
    board.standBy({ problem: null, slot: "is held by process 7 (pgsync stream)" });
    const standing = board.snapshot();
    assert.deepEqual(
      { ready: standing.ready, standby: standing.standby, phase: standing.phase, indices: standing.indices },
      { ready: false, standby: true, phase: "standby", indices: [] },
    );
    assert.deepEqual(standing.notReady, [
      'This process stands by for database "shop": the slot "pgsync_shop" is held by process 7 (pgsync stream).',
    ]);
    health.silent(new PgsyncError("SEARCH_UNREACHABLE", "It is away."), new Date());
    assert.equal(board.snapshot().standby, false);
    health.answered();
    board.standBy({ problem: "PostgreSQL is away." });
    assert.equal(board.snapshot().standby, false);
    assert.match(board.snapshot().notReady.join(), /could not take over now: PostgreSQL is away/);
    board.phase = "starting";
    assert.deepEqual(board.snapshot().standby, false);
  });

  it("is not ready with more dead letters than the limit, and says what to do", () => {
    const { board } = streaming({ deadLetters: 11 });
    assert.deepEqual([board.snapshot().ready, board.snapshot().maxDeadLetters], [true, null]);
    board.maxDeadLetters = 11;
    assert.equal(board.snapshot().ready, true);
    board.maxDeadLetters = 10;
    assert.match(
      board.snapshot().notReady.join(),
      /11 documents .+ more than the 10 .+`pgsync dead-letters list`/,
    );
    const one = { ...LOADED, deadLetters: 6 };
    board.indices = () => [one, { ...one, index: "author" }];
    assert.match(board.snapshot().notReady.join(), /12 documents/, "all indices count together");
  });

  it("tells a fault that an operator has to mend, and goes on", () => {
    const { board, events } = streaming();
    board.fault(new PgsyncError("DEAD_LETTER_LIMIT", "Too many."));
    assert.equal(board.snapshot().faults.at(-1)?.code, "DEAD_LETTER_LIMIT");
    assert.equal(board.phase, "streaming");
    assert.equal(events.at(-1)?.type, "fault");
  });

  it("tells a phase once, and keeps to halted", () => {
    const { board, events } = streaming();
    board.phase = "streaming";
    board.halt(new PgsyncError("INTERNAL", "Broken."));
    board.halt(new PgsyncError("INTERNAL", "And that is why the rest ends."));
    board.phase = "stopped";
    assert.equal(board.phase, "halted");
    assert.deepEqual(events.map((event) => event.type), ["phase", "phase", "fault"]);
    assert.match(board.snapshot().notReady.join(), /Halted: Broken\./);
  });

  it("keeps the newest twenty faults, one that repeats once", () => {
    const { board } = streaming();
    for (let i = 0; i < 3; i++) board.retry(new PgsyncError("INTERNAL", "Same."));
    assert.equal(board.snapshot().faults.length, 1);
    for (let i = 0; i < 30; i++) board.retry(new PgsyncError("INTERNAL", `Fault ${i}.`), "replication");
    const { faults, stream } = board.snapshot();
    assert.deepEqual([faults.length, faults.at(-1)?.message, stream.reconnects], [20, "Fault 29.", 30]);
  });

  it("knows which server a fault is of, and when the log was told of it", () => {
    const { board, events } = streaming();
    const before = Date.now();
    assert.equal(board.lastLogged("search"), null);
    board.retry(new PgsyncError("SEARCH_UNAVAILABLE", "Overloaded."));
    board.retry(new PgsyncError("FIELDS_REFUSED", "Full."));
    board.retry(new PgsyncError("POSTGRES_UNREACHABLE", "Gone."));
    board.retry(new PgsyncError("POSTGRES_UNREACHABLE", "Gone."), "replication");
    assert.deepEqual(events.flatMap((event) => event.type === "retry" ? [event.of] : []), [
      "search",
      "search",
      "postgresql",
      "replication",
    ]);
    assert.ok((board.lastLogged("search") ?? 0) >= before);
  });

  it("takes for the server's position the newest that anybody spoke of", () => {
    const { board } = streaming();
    assert.equal(board.snapshot().stream.server, 20n);
    board.slot = { server: 30n, retainedBytes: 1, safeBytes: null };
    assert.equal(board.snapshot().stream.server, 30n);
  });

  it("shows a warning for as long as it stands, and tells it when it begins or changes", () => {
    const { board, events } = streaming();
    const told = () => events.flatMap((event) => event.type === "warning" ? [event.message] : []);
    board.stand("rows", "One row.");
    board.stand("looks", "No look.");
    board.stand("rows", "One row.");
    assert.deepEqual(board.snapshot().warnings, ["One row.", "No look."]);
    board.stand("rows", "Two rows.");
    assert.deepEqual(board.snapshot().warnings, ["Two rows.", "No look."]);
    assert.deepEqual(told(), ["One row.", "No look.", "Two rows."]);
    board.stand("rows", null);
    board.stand("rows", null);
    assert.deepEqual(board.snapshot().warnings, ["No look."]);
    assert.equal(board.snapshot().ready, true, "nothing waits for it");
    board.stand("rows", "Two rows.");
    assert.equal(told().length, 4, "it is told again when it comes again");
    board.stand("wal", "1 MB.", 1);
    board.stand("wal", "2 MB.", 1);
    assert.deepEqual(board.snapshot().warnings, ["No look.", "Two rows.", "2 MB."]);
    assert.deepEqual(told().slice(4), ["1 MB."], "figures alone are no news");
    board.stand("wal", "9 MB.", 2);
    assert.deepEqual(told().slice(5), ["9 MB."]);
    board.stand("wal", "3 MB.", 1);
    assert.equal(told().length, 6, "nor is that it became better");
    board.stand("wal", "9 MB.", 2);
    assert.deepEqual(told().slice(6), ["9 MB."]);
  });
});
