import assert from "node:assert/strict";
import { test } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { listen } from "../../src/server/listen.ts";
import { sampleApp } from "./sample_status.ts";

const app = sampleApp();

test("port 0 takes a free one and says which; after close nobody answers", async () => {
  const listener = listen(app, { hostname: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${listener.port}/ready`;
  try {
    assert.notEqual(listener.port, 0);
    const response = await fetch(url);
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { ready: true, notReady: [] });
  } finally {
    await listener.close();
  }
  await assert.rejects(fetch(url));
});

test("an address in use: LISTEN, with the address", async () => {
  const listener = listen(app, { hostname: "127.0.0.1", port: 0 });
  try {
    assert.throws(() => listen(app, { hostname: "127.0.0.1", port: listener.port }), (error) => {
      assert.ok(error instanceof PgsyncError);
      assert.equal(error.code, "LISTEN");
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${listener.port}`));
      return true;
    });
  } finally {
    await listener.close();
  }
});

test("an address of another machine: LISTEN", () => {
  assert.throws(() => listen(app, { hostname: "192.0.2.1", port: 0 }), { code: "LISTEN" });
});
