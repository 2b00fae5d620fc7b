/** A process that is frozen for so long that the search engine forgets what was deleted meanwhile. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { freezeAndReplace } from "../frozen.ts";

/**
 * After `index.gc_deletes`, a deletion has no version any more that an older document would be held against. Documents are looked at that way when they are
 * older than the engine's own 60 s.
 */
const SETTINGS = { "index.gc_deletes": "60s" };
const FORGOTTEN_MS = 62_000;

for (const during of ["stream", "load"] as const) {
  test(`frozen in the ${during} for more than a minute: deleted documents that it brings back are taken away again`, async () => {
    const { sql, frozen, other, elasticsearch, index, settled, assertEqual } = await freezeAndReplace(
      "operator",
      during,
      SETTINGS,
    );
    await sql`DELETE FROM item WHERE id <= 20`;
    await settled();
    await delay(FORGOTTEN_MS);
    // It forgets at a refresh.
    await sql`INSERT INTO item (title, amount) VALUES ('something to refresh', 1)`;
    await settled();
    await elasticsearch.request("POST", `/${index}/_refresh`);
    await assertEqual();
    frozen.signal("SIGCONT");
    const { stderr } = await frozen.exit();
    assert.match(stderr, /^then reached after-bulk$/m);
    assert.match(
      stderr,
      /WARN .* documents of index \S+ were made of builds that are \d\d+ s old/,
      "they had come back",
    );
    assert.doesNotMatch(stderr, /verify --repair/);
    assert.match(stderr, /^error CHECKPOINT_BEHIND/m);
    await assertEqual();
    assert.equal((await other.end("SIGTERM")).code, 0);
    await sql.end();
  });
}
