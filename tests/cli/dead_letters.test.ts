/** `pgsync dead-letters`: what it understands and how it speaks. What it does is tried in tests/faults/poison.test.ts. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { localUrl } from "../../src/cli/listen_address.ts";
import { describeDeadLetters, describeRetried } from "../../src/cli/print_dead_letters.ts";
import { keepRunToken, makeRunToken } from "../../src/cli/run_token.ts";
import type { DeadLetter } from "../../src/checkpoint/types.ts";
import { deadLetterPageJson } from "../../src/server/dead_letters_json.ts";
import { listen } from "../../src/server/listen.ts";
import { DeadLetters } from "../../src/sync/dead_letters/dead_letters.ts";
import { sampleApp } from "../server/sample_status.ts";
import { pgsync } from "./process.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

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

/** The dead letters of a run that writes as a test says, served as a run serves them; `ask` runs `pgsync dead-letters`. */
async function served(
  letters: number,
  rewrite: (checkpoint: Checkpoint, ids: readonly string[]) => void,
  test: (
    ask: (...args: readonly string[]) => ReturnType<typeof pgsync>,
    checkpoint: Checkpoint,
    url: string,
  ) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder("letters");
  const checkpoint = Checkpoint.open(join(folder, "pgsync_shop.checkpoint"));
  const { firstAt: _first, lastAt: _last, tries: _tries, ...refused } = LETTER;
  const entries = Array.from({ length: letters }, (_, n) => ({ ...refused, id: `book ${n}`, version: 1n }));
  checkpoint.addDeadLetters(entries, new Date());
  const place = {
    checkpoint: () => checkpoint,
    rewrite: (_index: string, ids: readonly string[]) => {
      rewrite(checkpoint, ids);
      return new Promise<void>(() => {});
    },
  };
  const token = makeRunToken();
  const app = sampleApp({
    deadLetters: { access: new DeadLetters(new Map([["books", place]]), 50), indices: ["books"] },
    access: { token, guardsStatus: false, isOwnName: () => true },
  });
  const listener = await listen(app, { hostname: "127.0.0.1", port: 0 });
  keepRunToken(folder, localUrl(listener), token);
  const env = { ...ENV, CHECKPOINT_PATH: folder, PGSYNC_LISTEN: `127.0.0.1:${listener.port}` };
  try {
    const ask = (...args: readonly string[]) =>
      pgsync(["dead-letters", ...args, "-c", "-"], { env, input: SCHEMA });
    await test(ask, checkpoint, localUrl(listener));
  } finally {
    await listener.close();
    checkpoint.close();
    removeFolder(folder);
  }
}

describe("pgsync dead-letters beside a run", () => {
  it("shows the token that the run keeps, and none to another address", () =>
    served(2, () => {}, async (ask, _checkpoint, url) => {
      const listed = await ask("list");
      assert.equal(listed.code, 0, listed.stderr);
      assert.match(listed.stdout, /"book 1": refused once/);
      const here = await ask("list", "--url", url);
      assert.equal(here.code, 0, here.stderr);
      // Somebody else sits on another port of this machine.
      const shown: unknown[] = [];
      const other = createServer((request, response) => {
        shown.push(request.headers.authorization);
        response.writeHead(401).end();
      });
      await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
      const address = other.address();
      assert.ok(typeof address === "object" && address !== null);
      const listen = `127.0.0.1:${address.port}`;
      const [byUrl, byListen] = await Promise.all([
        ask("list", "--url", `http://${listen}`),
        ask("list", "--listen", listen),
      ]);
      other.close();
      for (const elsewhere of [byUrl, byListen]) {
        assert.equal(elsewhere.code, 3);
        assert.match(elsewhere.stderr, /STATUS_LOGIN.*wants its token[^]*beside its checkpoint files/);
      }
      assert.deepEqual(shown, [undefined, undefined]);
    }));

  it("lists thousands, or those with some ids", () =>
    served(3_400, () => {}, async (ask) => {
      const all = await ask("list", "--all", "--json");
      const { total, deadLetters } = deadLetterPageJson.omit({ next: true }).parse(JSON.parse(all.stdout));
      assert.deepEqual([total, new Set(deadLetters.map(({ id }) => id)).size], [3_400, 3_400]);
      const ids = ["book 7", "book 3399", "book 3400"];
      const some = await ask(
        "list",
        "--id",
        ...ids,
        ...Array.from({ length: 1_500 }, (_, n) => `no book ${n}`),
      );
      assert.equal(some.code, 0, some.stderr);
      assert.match(some.stdout, /"book 7"[^]+"book 3399"[^]+\n2 dead letters\n$/);
    }));

  it("tries all again, also where a busy run does not get each page done in time", () =>
    served(2_500, (checkpoint, ids) => {
      const taken = ids.filter((_, at) => at % 2 === 0).map((id) => ({ id, version: 2n }));
      checkpoint.removeDeadLetters("books", taken);
    }, async (ask, checkpoint) => {
      const { code, stdout, stderr } = await ask("retry", "--all");
      assert.equal(code, 3, stderr);
      assert.match(
        stdout,
        /^2,500 dead letters tried again: 1,250 taken, 0 refused again, 1,250 still under way\n/,
      );
      assert.doesNotMatch(stdout, /not tried/);
      assert.equal(checkpoint.deadLetterCount("books"), 1_250);
    }));

  it("gives up where nothing of a page is answered", () =>
    served(2_500, () => {}, async (ask) => {
      const { code, stdout } = await ask("retry", "--all");
      assert.equal(code, 3);
      assert.match(
        stdout,
        /^1,000 dead letters tried again: 0 taken, .+, 1,000 still under way\n.+ was not tried/,
      );
    }));
});

describe("pgsync dead-letters without a run", () => {
  it("works on the files that are there, and says which is not", async () => {
    const folder = temporaryFolder("letters");
    try {
      {
        using checkpoint = Checkpoint.open(join(folder, "pgsync_shop.checkpoint"));
        const { firstAt: _first, lastAt: _last, tries: _tries, ...refused } = LETTER;
        checkpoint.addDeadLetters([{ ...refused, version: 1n }], new Date());
      }
      const schema = JSON.stringify([
        { database: "shop", index: "books", nodes: { table: "book" } },
        { database: "depot", index: "boxes", nodes: { table: "box" } },
      ]);
      const settings = { env: { ...ENV, CHECKPOINT_PATH: folder }, input: schema };
      const listed = await pgsync(["dead-letters", "list", "-c", "-"], settings);
      assert.equal(listed.code, 0, listed.stderr);
      assert.match(listed.stdout, /"17": refused once/);
      assert.match(listed.stderr, /there is no checkpoint file \S+pgsync_depot\.checkpoint/);
      const dropped = await pgsync(["dead-letters", "drop", "--all", "-c", "-"], settings);
      assert.deepEqual([dropped.code, dropped.stdout], [0, "1 dead letter dropped\n"], dropped.stderr);
    } finally {
      removeFolder(folder);
    }
  });
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
    assert.equal(
      describeRetried({ found: 0, taken: 0, refused: 0, pending: 0 }, false),
      "no such dead letters",
    );
    assert.match(
      describeRetried({ found: 4, taken: 1, refused: 2, pending: 1 }, true),
      /^4 dead letters tried again: 1 taken, 2 refused again, 1 still under way\n.+list.+\n.+pgsync status.+not tried/,
    );
    assert.doesNotMatch(describeRetried({ found: 4, taken: 1, refused: 2, pending: 1 }, false), /not tried/);
  });
});
