/** `pgsync dead-letters`: what it understands and how it speaks. What it does is tried in tests/faults/poison.test.ts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { describeDeadLetters, describeRetried } from "../../src/cli/print_dead_letters.ts";
import type { DeadLetter } from "../../src/checkpoint/types.ts";
import { pgsync } from "./process.ts";

const SCHEMA = JSON.stringify([{ database: "shop", index: "books", nodes: { table: "book" } }]);
const ENV = {
  PG_USER: "me",
  PGSYNC_ENV_FILE: "off",
  CHECKPOINT_PATH: "/nowhere",
  PGSYNC_LISTEN: "127.0.0.1:1",
};

const LETTER: DeadLetter = {
  index: "books",
  id: "17",
  operation: "index",
  status: 400,
  type: "document_parsing_exception",
  reason: "failed to parse field [n]",
  position: 0x16_00000001n,
  firstAt: new Date("2026-01-01T00:00:00Z"),
  lastAt: new Date("2026-01-02T00:00:00Z"),
  tries: 1_234,
};

describe("pgsync dead-letters", () => {
  for (
    const [args, code, words] of [
      [["retry"], 2, /retry wants either --id or --all/],
      [["drop"], 2, /drop wants either --id or --all/],
      [["drop", "--index", "books"], 2, /drop wants either --id or --all/],
      [["drop", "--all", "--id", "1"], 2, /drop wants either --id or --all/],
      [["retry", "--all", "--limit", "5"], 2, /--limit is of list/],
      [["list", "--all", "--limit", "5"], 2, /--limit and --all/],
      [["list", "--limit", "0"], 2, /--limit must be a whole number/],
      [["list", "--index", "book"], 2, /no index "book".*did you mean "books"/i],
      [["show"], 2, /'show' is invalid.*list, retry, drop/],
      [[], 2, /Missing required argument 'action'/],
      [["list", "--url", "ftp://x"], 2, /--url must be an http/],
      [["list"], 3, /no checkpoint file \/nowhere\/pgsync_shop\.checkpoint, and no running pgsync/],
      [["list", "--url", "http://127.0.0.1:1"], 3, /STATUS_UNREACHABLE: No running pgsync answers/],
    ] as const
  ) {
    it(`${args.join(" ") || "alone"}: exits ${code} with a sentence`, async () => {
      const ended = await pgsync(["dead-letters", ...args, "-c", "-"], { env: ENV, input: SCHEMA });
      assert.equal(ended.code, code, ended.stderr);
      assert.match(ended.stderr.replaceAll("\n", " "), words);
      assert.equal(ended.stdout, "");
    });
  }
});

describe("Dead letters for people", () => {
  it("have their ids, times and reasons, index by index", () => {
    const other = {
      ...LETTER,
      index: "authors",
      id: "",
      operation: "delete",
      tries: 1,
      position: null,
    } as const;
    const unmade = { ...LETTER, id: "x", status: 0, type: "postgresql_22003" };
    assert.equal(
      describeDeadLetters([LETTER, unmade, other], 1_003, true),
      [
        "books:",
        '  "17": refused 1,234 times, 2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z, at 16/1',
        "    document_parsing_exception (HTTP 400): failed to parse field [n]",
        '  "x": refused 1,234 times, 2026-01-01T00:00:00.000Z to 2026-01-02T00:00:00.000Z, at 16/1',
        "    postgresql_22003: failed to parse field [n]",
        "authors:",
        '  "" (its deletion): refused once, 2026-01-01T00:00:00.000Z',
        "    document_parsing_exception (HTTP 400): failed to parse field [n]",
        "and 1,000 more (--limit, --all)",
      ].join("\n"),
    );
    assert.equal(describeDeadLetters([], 0, true), "no dead letters");
    assert.equal(describeDeadLetters([], 5, false), "none of these is a dead letter");
    assert.match(describeDeadLetters([LETTER], 5, false), /\n1 dead letter$/);
  });

  it("cannot make the terminal show something else", () => {
    const text = describeDeadLetters(
      [{ ...LETTER, id: "\x1b[2J\u202e\n", reason: "\x1b[31mred\r\nok\u2028" }],
      1,
      true,
    );
    assert.doesNotMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Zl}\u202e]/u);
    assert.equal(text.split("\n").length, 4);
    assert.ok(describeDeadLetters([{ ...LETTER, id: "x".repeat(100_000) }], 1, true).length < 1_000);
  });

  it("that were tried again are counted", () => {
    assert.equal(describeRetried({ found: 0, taken: 0, refused: 0, pending: 0 }), "no such dead letters");
    assert.match(
      describeRetried({ found: 4, taken: 1, refused: 2, pending: 1 }),
      /^4 dead letters tried again: 1 taken, 2 refused again, 1 still under way\n.+list.+\n.+pgsync status/,
    );
  });
});
