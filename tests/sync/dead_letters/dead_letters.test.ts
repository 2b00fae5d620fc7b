import assert from "node:assert/strict";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { Checkpoint } from "../../../src/checkpoint/checkpoint.ts";
import type { DeadLetterEntry } from "../../../src/checkpoint/types.ts";
import { DeadLetterDesk } from "../../../src/sync/dead_letters/dead_letter_desk.ts";
import {
  type DeadLetterCursor,
  type DeadLetterPlace,
  DeadLetters,
} from "../../../src/sync/dead_letters/dead_letters.ts";
import { BOOKS, mapped } from "../shop.ts";
import { removeFolder, temporaryFolder } from "../../../scripts/servers/process.ts";

const folder = temporaryFolder("letters");
after(() => removeFolder(folder));
let files = 0;

function entry(index: string, id: string): DeadLetterEntry {
  const refusal = { status: 400, type: "document_parsing_exception", reason: "no number", position: null };
  return { index, id, operation: "index", version: 1n, ...refusal };
}

/** A checkpoint file with these letters, for an index each. */
function checkpointWith(letters: Readonly<Record<string, readonly string[]>>): Checkpoint {
  const checkpoint = Checkpoint.open(join(folder, `${files++}.checkpoint`));
  for (const [index, ids] of Object.entries(letters)) {
    checkpoint.addDeadLetters(ids.map((id) => entry(index, id)), new Date());
  }
  return checkpoint;
}

/** A place whose rewriting does what a test says. */
function place(checkpoint: Checkpoint, rewrite: DeadLetterPlace["rewrite"] = () => Promise.resolve()) {
  return { checkpoint: () => checkpoint, rewrite };
}

describe("The dead letters of several databases", () => {
  it("are listed page by page, in the order of the schema file, each once", async () => {
    const id = fc.string({ maxLength: 3, unit: fc.constantFrom("", "a", "B", "é", "😀", "|") });
    const ids = fc.uniqueArray(id, { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        ids,
        ids,
        ids,
        fc.integer({ min: 1, max: 9 }),
        async (books, authors, shops, limit) => {
          using one = checkpointWith({ shops, books });
          using other = checkpointWith({ authors });
          const letters = new DeadLetters(
            new Map([["shops", place(one)], ["authors", place(other)], ["books", place(one)]]),
            null,
          );
          const indices = ["books", "authors", "shops"];
          const found: string[] = [];
          for (let after: DeadLetterCursor | null = null;;) {
            const page = await letters.list({ indices, ids: null, limit, after });
            assert.equal(page.total, books.length + authors.length + shops.length);
            found.push(...page.deadLetters.map((letter) => `${letter.index} ${letter.id}`));
            after = page.next;
            if (after === null) break;
            assert.equal(page.deadLetters.length, limit);
          }
          const sorted = (index: string, own: string[]) =>
            own.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))).map((id) =>
              `${index} ${id}`
            );
          assert.deepEqual(found, [
            ...sorted("shops", shops),
            ...sorted("authors", authors),
            ...sorted("books", books),
          ]);
        },
      ),
      { numRuns: 30 },
    );
  });

  it("are told by index where only some are asked for, and an unknown index is refused", async () => {
    using checkpoint = checkpointWith({ books: ["1"], authors: ["2"] });
    const letters = new DeadLetters(
      new Map([["books", place(checkpoint)], ["authors", place(checkpoint)]]),
      null,
    );
    const { total, deadLetters } = await letters.list({
      indices: ["authors"],
      ids: null,
      limit: 10,
      after: null,
    });
    assert.deepEqual([total, deadLetters.map(({ id }) => id)], [1, ["2"]]);
    const unknown = { indices: ["books", "shops"], ids: null, after: null };
    await assert.rejects(letters.drop(unknown), { code: "REQUEST_REFUSED" });
    await assert.rejects(letters.retry(unknown), { code: "REQUEST_REFUSED" });
    assert.equal(checkpoint.deadLetterCount("books"), 1, "nothing was done before it was seen");
  });

  it("that are tried again were taken, refused again, or are under way still", async () => {
    using checkpoint = checkpointWith({ books: ["taken", "refused", "away", "other"] });
    const asked: (readonly string[])[] = [];
    const rewrite = (index: string, ids: readonly string[]) => {
      asked.push(ids);
      checkpoint.removeDeadLetters(index, [{ id: "taken", version: 2n }]);
      checkpoint.addDeadLetters([entry(index, "refused")], new Date());
      return new Promise<void>(() => {});
    };
    const letters = new DeadLetters(new Map([["books", place(checkpoint, rewrite)]]), 20);
    const ids = ["taken", "refused", "away", "unknown"];
    assert.deepEqual(await letters.retry({ indices: ["books"], ids, after: null }), {
      found: 3,
      taken: 1,
      refused: 1,
      pending: 1,
      next: null,
    });
    assert.deepEqual(asked, [["taken", "refused", "away"]]);
  });

  it("are tried again a thousand at a time, from one to the next", async () => {
    using checkpoint = checkpointWith({ books: Array.from({ length: 2_300 }, (_, n) => `book ${n}`) });
    const rewrite = (index: string, ids: readonly string[]) => {
      // Those that are refused again stay, and must not be tried for ever.
      const taken = ids.filter((id) => !id.endsWith("7"));
      checkpoint.removeDeadLetters(index, taken.map((id) => ({ id, version: 2n })));
      return Promise.resolve();
    };
    const letters = new DeadLetters(new Map([["books", place(checkpoint, rewrite)]]), null);
    const steps: number[][] = [];
    for (let after: DeadLetterCursor | null = null;;) {
      const { next, found, taken, refused, pending } = await letters.retry({
        indices: ["books"],
        ids: null,
        after,
      });
      steps.push([found, taken + refused + pending]);
      after = next;
      if (after === null) break;
    }
    assert.deepEqual(steps, [[1_000, 1_000], [1_000, 1_000], [300, 300]]);
    assert.equal(checkpoint.deadLetterCount("books"), 230);
  });

  it("are told to be refused again only where they were", async () => {
    using checkpoint = checkpointWith({ books: ["refused", "unheard"] });
    const rewrite = (index: string) => {
      checkpoint.addDeadLetters([entry(index, "refused")], new Date());
      return Promise.resolve();
    };
    const letters = new DeadLetters(new Map([["books", place(checkpoint, rewrite)]]), null);
    const { refused, pending } = await letters.retry({ indices: ["books"], ids: null, after: null });
    assert.deepEqual([refused, pending], [1, 1]);
  });

  it("are dropped in portions: the process does other work meanwhile, and what is refused meanwhile is told", async () => {
    const ids = Array.from({ length: 5_500 }, (_, n) => `book ${n}`);
    using checkpoint = checkpointWith({ books: ids, authors: ["1"] });
    const counts: number[] = [];
    checkpoint.onDeadLetters = () => counts.push(checkpoint.deadLetterCount("books"));
    const letters = new DeadLetters(
      new Map([["books", place(checkpoint)], ["authors", place(checkpoint)]]),
      null,
    );
    let turns = 0;
    const other = setInterval(() => turns++, 0);
    assert.equal(await letters.drop({ indices: ["books"], ids: null }), 5_500);
    clearInterval(other);
    assert.deepEqual(counts, [4_500, 3_500, 2_500, 1_500, 500, 0]);
    assert.ok(turns > 0, "a timer had its turn");
    assert.equal(checkpoint.deadLetterCount("authors"), 1);
  });

  it("are not listed from a place in another index, which would be the end", async () => {
    using checkpoint = checkpointWith({ books: ["1"], authors: ["2"] });
    const letters = new DeadLetters(
      new Map([["books", place(checkpoint)], ["authors", place(checkpoint)]]),
      null,
    );
    const after = { index: "authors", id: "" };
    await assert.rejects(letters.list({ indices: ["books"], ids: null, limit: 1, after }), {
      code: "REQUEST_REFUSED",
    });
    await assert.rejects(letters.retry({ indices: ["books"], ids: null, after }), {
      code: "REQUEST_REFUSED",
    });
  });

  it("are told to wait no longer where nobody writes them any more", async () => {
    using checkpoint = checkpointWith({ books: ["1"] });
    const desk = new DeadLetterDesk("shop");
    using _ = desk.opened(checkpoint);
    const told: (() => void)[] = [];
    const pipeline = {
      rewrite: (_document: unknown, _keys: readonly string[], whenDone: () => void) =>
        void told.push(whenDone),
    };
    const document = mapped(BOOKS);
    const { index } = document.schema;
    checkpoint.addDeadLetters([entry(index, "1")], new Date());
    const letters = new DeadLetters(new Map([[index, desk]]), 60_000);
    const writing = desk.writes({ pipeline, documents: [document] });
    const written = letters.retry({ indices: [index], ids: null, after: null });
    const cut = letters.retry({ indices: [index], ids: null, after: null });
    told[0]?.();
    assert.equal((await written).pending, 1);
    writing[Symbol.dispose]();
    await assert.rejects(cut, { code: "RUN_NOT_THERE_YET" });
  });

  it("cannot be written while the run cannot write", async () => {
    using checkpoint = checkpointWith({ books: ["1"] });
    const failing = place(checkpoint, () => Promise.reject(new Error("not now")));
    const letters = new DeadLetters(new Map([["books", failing]]), 1_000);
    await assert.rejects(letters.retry({ indices: ["books"], ids: null, after: null }), /not now/);
  });
});
