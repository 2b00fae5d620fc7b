/** `/dead-letters`: what is answered, and to whom. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, beforeEach, describe, it } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { PgsyncError } from "../../src/errors/error.ts";
import { deadLetterPageJson } from "../../src/server/dead_letters_json.ts";
import { DeadLetters } from "../../src/sync/dead_letters/dead_letters.ts";
import { sampleApp } from "./sample_status.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const folder = temporaryFolder("letters");
const checkpoint = Checkpoint.open(join(folder, "letters.checkpoint"));
after(() => {
  checkpoint.close();
  removeFolder(folder);
});

let rewrite: () => Promise<void> = () => Promise.resolve();
const access = new DeadLetters(
  new Map(
    ["books", "authors"].map((index) => [index, { checkpoint: () => checkpoint, rewrite: () => rewrite() }]),
  ),
  50,
);
const TOKEN = "0123456789abcdef0123456789abcdef";
const deadLetters = { access, indices: ["books", "authors"] };
const open = sampleApp({ deadLetters, access: { token: TOKEN, guardsStatus: false, isOwnName: () => true } });
const guarded = sampleApp({
  deadLetters,
  access: { token: TOKEN, guardsStatus: true, isOwnName: () => true },
});
const LOCAL = "http://127.0.0.1:9399";
const AUTHORIZATION = { authorization: `Bearer ${TOKEN}` };
const HEADERS = { "content-type": "application/json", ...AUTHORIZATION };

const REFUSAL = {
  index: "books",
  operation: "index",
  version: 1n,
  status: 400,
  type: "document_parsing_exception",
  reason: "no number",
  position: 0x16_00000001n,
} as const;

beforeEach(() => {
  rewrite = () => Promise.resolve();
  checkpoint.reset();
  checkpoint.addDeadLetters(
    ["1", "2", "ключ|x"].map((id) => ({ ...REFUSAL, id })),
    new Date("2026-01-01T00:00:00Z"),
  );
});

function get(query: string) {
  return open.request(`${LOCAL}/dead-letters${query}`, { headers: AUTHORIZATION });
}

function post(app: typeof open, path: string, body: unknown, headers: Record<string, string> = HEADERS) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return app.request(`${LOCAL}/dead-letters/${path}`, { method: "POST", headers, body: text });
}

function ids(): string[] {
  return checkpoint.listDeadLetters().map(({ id }) => id);
}

describe("/dead-letters", () => {
  it("is a page of JSON; `next` leads to the one behind it", async () => {
    const first = await get("?limit=2");
    assert.equal(first.status, 200);
    const page = deadLetterPageJson.parse(await first.json());
    assert.deepEqual(page.deadLetters[0], {
      index: "books",
      id: "1",
      operation: "index",
      status: 400,
      type: "document_parsing_exception",
      reason: "no number",
      position: "16/1",
      firstAt: "2026-01-01T00:00:00.000Z",
      lastAt: "2026-01-01T00:00:00.000Z",
      tries: 1,
    });
    assert.deepEqual([page.total, page.next], [3, { index: "books", id: "2" }]);
    const query = new URLSearchParams({ index: "books", afterIndex: "books", afterId: "2" });
    const second = deadLetterPageJson.parse(await (await get(`?${query}`)).json());
    assert.deepEqual([second.deadLetters.map(({ id }) => id), second.next], [["ключ|x"], null]);
  });

  it("is what some ids are, of those that are dead letters", async () => {
    const query = new URLSearchParams([["index", "books"], ["id", "ключ|x"], ["id", "1"], ["id", "7"]]);
    const page = deadLetterPageJson.parse(await (await get(`?${query}`)).json());
    assert.deepEqual([page.total, page.next], [3, null]);
    assert.deepEqual(page.deadLetters.map(({ id }) => id), ["ключ|x", "1"]);
  });

  it("refuses queries that it does not understand, and indices that it does not follow", async () => {
    const queries = [
      ...["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "afterId=1", "ids=1", "id=1&limit=2"],
      // A place in a list of another index would be its end.
      ...["afterIndex=shops&afterId=1", "index=books&afterIndex=authors&afterId=1"],
    ];
    for (const query of queries) assert.equal((await get(`?${query}`)).status, 400, query);
    const other = await get("?index=shops");
    assert.equal(other.status, 404);
    assert.match(await other.text(), /REQUEST_REFUSED.*follows books/);
  });

  it("drops by id, or all", async () => {
    const some = await post(open, "drop", { id: ["2", "7"] });
    assert.deepEqual([some.status, await some.json()], [200, { dropped: 1 }]);
    assert.deepEqual(ids(), ["1", "ключ|x"]);
    const all = await post(open, "drop", { index: ["books"], all: true });
    assert.deepEqual(await all.json(), { dropped: 2 });
  });

  it("tries again, and does not keep anybody waiting for a server that is away", async () => {
    rewrite = () => {
      checkpoint.removeDeadLetters("books", [{ id: "1", version: 1n }]);
      checkpoint.addDeadLetters(["2", "ключ|x"].map((id) => ({ ...REFUSAL, id })), new Date());
      return Promise.resolve();
    };
    const done = await post(open, "retry", { all: true });
    assert.deepEqual(await done.json(), { found: 3, taken: 1, refused: 2, pending: 0, next: null });
    rewrite = () => new Promise(() => {});
    const waiting = await post(open, "retry", { id: ["2"] });
    assert.deepEqual(await waiting.json(), { found: 1, taken: 0, refused: 0, pending: 1, next: null });
  });

  it("says 503 while the run cannot, and nothing of what it does not know", async () => {
    rewrite = () => Promise.reject(new PgsyncError("RUN_NOT_THERE_YET", "It is starting."));
    const later = await post(open, "retry", { all: true });
    assert.equal(later.status, 503);
    assert.match(await later.text(), /starting.*RUN_NOT_THERE_YET/);
    rewrite = () => Promise.reject(new Error("postgresql://u:secret@h/db"));
    const broken = await post(open, "retry", { all: true });
    assert.equal(broken.status, 500);
    assert.doesNotMatch(await broken.text(), /secret/);
  });

  it("takes a request that says nothing, or says it wrongly, for nothing", async () => {
    const bodies: readonly unknown[] = [
      ...["", "null", "{", "[]", {}, { index: ["books"] }, { ids: ["1"] }, { id: ["1"], all: true }],
      ...[{ all: false }, { id: "1" }, { id: Array.from({ length: 1_001 }, String) }],
    ];
    for (const body of bodies) {
      for (const path of ["drop", "retry"]) {
        assert.equal(
          (await post(open, path, body)).status,
          400,
          `${path} ${JSON.stringify(body).slice(0, 40)}`,
        );
      }
    }
    const after = { index: "books", id: "1" };
    assert.equal(
      (await post(open, "drop", { all: true, after })).status,
      400,
      "it would drop what comes before, too",
    );
    assert.equal((await post(open, "retry", { all: true, after: { ...after, index: "shops" } })).status, 400);
    assert.equal(ids().length, 3);
  });
});

describe("A request of another site's page", () => {
  it("is refused without the token, which no browser shows by itself, whatever name leads here", async () => {
    for (const url of [LOCAL, "http://evil.example:9399"]) {
      const headers = { "content-type": "application/json", origin: "http://evil.example:9399" };
      assert.equal((await open.request(`${url}/dead-letters`)).status, 401);
      const drop = { method: "POST", headers, body: '{"all":true}' };
      assert.equal((await open.request(`${url}/dead-letters/drop`, drop)).status, 401);
    }
    assert.equal(ids().length, 3);
  });

  it("is refused as text or form, also where something in between adds the token", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      assert.equal(
        (await post(open, "drop", { all: true }, { ...HEADERS, "content-type": type })).status,
        415,
      );
    }
    assert.equal(ids().length, 3);
  });

  it("is not told that it may (CORS)", async () => {
    const asked = await open.request(`${LOCAL}/dead-letters/drop`, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    });
    assert.equal(asked.headers.get("access-control-allow-origin"), null);
    assert.equal(asked.headers.get("access-control-allow-headers"), null);
  });
});

describe("The token", () => {
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const basic = (token: string) => ({
    authorization: `Basic ${Buffer.from(`me:${token}`).toString("base64")}`,
  });

  it("is demanded for /, /status and /dead-letters where one is configured, and for nothing else", async () => {
    for (const path of ["/", "/status", "/dead-letters", "/dead-letters/"]) {
      for (const headers of [{}, bearer("x"), bearer(`${TOKEN}x`), basic("x"), { authorization: TOKEN }]) {
        const response = await guarded.request(path, { headers });
        assert.equal(response.status, 401, path);
        assert.match(response.headers.get("www-authenticate") ?? "", /Bearer/);
        assert.doesNotMatch(await response.text(), new RegExp(TOKEN));
      }
    }
    for (const path of ["/", "/status", "/dead-letters"]) {
      assert.equal((await guarded.request(path, { headers: bearer(TOKEN) })).status, 200, path);
      assert.equal(
        (await guarded.request(path, { headers: basic(TOKEN) })).status,
        200,
        `${path} in a browser`,
      );
    }
    for (const path of ["/health", "/ready", "/metrics"]) {
      assert.equal((await guarded.request(path)).status, 200, path);
    }
  });

  it("is demanded of each POST, and not taken in a form that browsers send by themselves", async () => {
    const headers = { "content-type": "application/json" };
    assert.equal((await post(guarded, "drop", { all: true }, headers)).status, 401);
    assert.equal((await post(guarded, "retry", { all: true }, headers)).status, 401);
    assert.equal((await post(guarded, "drop", { all: true }, { ...headers, ...basic(TOKEN) })).status, 401);
    assert.equal(ids().length, 3);
    assert.equal((await post(guarded, "drop", { all: true }, { ...headers, ...bearer(TOKEN) })).status, 200);
  });

  it("is demanded for dead letters also where none is configured", async () => {
    assert.equal((await open.request(`${LOCAL}/status`)).status, 200);
    assert.equal((await open.request(`${LOCAL}/`)).status, 200);
    const headers = { "content-type": "application/json" };
    for (const shown of [{}, bearer(""), bearer("null"), basic("")]) {
      assert.equal((await open.request(`${LOCAL}/dead-letters`, { headers: shown })).status, 401);
      assert.equal((await post(open, "drop", { all: true }, { ...headers, ...shown })).status, 401);
    }
    assert.equal(ids().length, 3);
  });
});
