import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { after, describe, it, test } from "node:test";
import { PgsyncError } from "../../src/errors/error.ts";
import { listen, type Listener } from "../../src/server/listen.ts";
import { eventually } from "../support/eventually.ts";
import { sampleApp } from "./sample_status.ts";

const app = sampleApp();
const LOCAL = { hostname: "127.0.0.1", port: 0 };

test("port 0 takes a free one and says which; after close nobody answers", async () => {
  const listener = await listen(app, LOCAL);
  const url = `http://127.0.0.1:${listener.port}/ready`;
  try {
    assert.notEqual(listener.port, 0);
    const response = await fetch(url);
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { status: "ready", ready: true, notReady: [] });
  } finally {
    await listener.close();
  }
  await assert.rejects(fetch(url));
});

test("an address in use: LISTEN, with the address", async () => {
  const listener = await listen(app, LOCAL);
  try {
    await assert.rejects(listen(app, { hostname: "127.0.0.1", port: listener.port }), (error) => {
      assert.ok(error instanceof PgsyncError);
      assert.equal(error.code, "LISTEN");
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${listener.port}: it is in use`));
      return true;
    });
  } finally {
    await listener.close();
  }
});

test("an address of another machine: LISTEN", async () => {
  await assert.rejects(listen(app, { hostname: "192.0.2.1", port: 0 }), { code: "LISTEN" });
});

/** A client that sends what it likes. */
interface RawClient {
  readonly socket: Socket;
  /** All that came, when the connection has ended. */
  readonly ended: Promise<string>;
}

function raw({ port }: Listener): Promise<RawClient> {
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  let received = "";
  socket.on("data", (bytes) => (received += String(bytes)));
  socket.on("error", () => {});
  socket.on("end", () => socket.end());
  socket.on("close", () => end(received));
  return new Promise((resolve) => socket.once("connect", () => resolve({ socket, ended })));
}

/** What a client gets that sends this text at once. */
async function sent(listener: Listener, text: string): Promise<string> {
  const { socket, ended } = await raw(listener);
  socket.write(text);
  return await ended;
}

const HEAD = "GET /health HTTP/1.1\r\nHost: localhost\r\n";

let handled = 0;
const limits = { connections: 3, headBytes: 8_192, bodyBytes: 1_000, requestMs: 60_000, answerMs: 60_000 };
const large = "x".repeat(20_000_000);
const served = {
  fetch: async (request: Request) => {
    handled++;
    if (request.url.endsWith("/large")) return new Response(large);
    if (request.url.endsWith("/echo")) return new Response(await request.text());
    return await app.fetch(request);
  },
};
const listener = await listen(served, LOCAL, limits);
/** For clients that are too slow; a machine that is busy makes others so. */
const impatient = await listen(served, LOCAL, { ...limits, requestMs: 300, answerMs: 300 });
after(() => Promise.all([listener.close(), impatient.close()]));

describe("A client", () => {
  it("gets one answer, and the end of the connection", async () => {
    handled = 0;
    const answer = await sent(listener, `${HEAD}\r\n`.repeat(50));
    assert.equal(handled, 1, "what was sent behind the first request is not looked at");
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(answer, /\r\ncontent-type: application\/json\r\n/i);
    assert.match(answer, /\r\nconnection: close\r\n/);
    assert.match(answer, /\r\n\r\n\{"status":"alive"\}$/);
  });

  it("may send its request in pieces, and end its side", async () => {
    const { socket, ended } = await raw(listener);
    for (
      const piece of [
        "POST /echo HT",
        "TP/1.1\r\nHost: localhost\r",
        "\nContent-Length: 6\r\n\r",
        "\nab",
        "cdef",
      ]
    ) {
      socket.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    socket.end();
    assert.match(await ended, /\r\n\r\nabcdef$/);
  });

  it("gets no body for HEAD", async () => {
    assert.match(
      await sent(listener, `${HEAD.replace("GET", "HEAD")}\r\n`),
      /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/,
    );
  });

  it("that asks without sense, or for too much, is told so", async () => {
    assert.match(await sent(listener, "hello\r\n\r\n"), /^HTTP\/1\.1 400 /);
    assert.match(await sent(listener, `${HEAD}X: ${"x".repeat(100_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
    assert.match(
      await sent(listener, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n"),
      /^HTTP\/1\.1 413 [\s\S]*more than 1000 bytes/,
    );
    const chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert.match(await sent(listener, `${chunked}5\r\nhello\r\n0\r\n\r\n`), /\r\n\r\nhello$/);
    assert.match(
      await sent(listener, `${chunked}3e9\r\n${"x".repeat(1001)}\r\n0\r\n\r\n`),
      /^HTTP\/1\.1 413 /,
    );
    // Of these a URL would be made that leads elsewhere.
    for (
      const [host, path] of [["evil", "@localhost/"], ["evil@localhost", "/"], ["localhost", "http://evil/"]]
    ) {
      assert.match(await sent(listener, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`), /^HTTP\/1\.1 400 /);
    }
  });

  for (
    const [what, head] of [["head", HEAD], [
      "body",
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n",
    ], ["silence", ""]]
  ) {
    it(`that sends a byte now and then is cut off (${what})`, { timeout: 10_000 }, async () => {
      const { socket, ended } = await raw(impatient);
      socket.write(head ?? "");
      const drip = setInterval(() => what !== "silence" && socket.write("a"), 20);
      // With all these bytes the body would be complete, and answered, after 18 s.
      assert.match(await ended, /^HTTP\/1\.1 408 /);
      clearInterval(drip);
    });
  }

  it("that does not take its answer is cut off", { timeout: 20_000 }, async () => {
    const { socket, ended } = await raw(impatient);
    socket.pause();
    socket.write("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    socket.resume();
    assert.ok((await ended).length < large.length);
  });

  it("that is slow gives way to one that comes", { timeout: 20_000 }, async () => {
    const busy = await listen(app, LOCAL, limits);
    const slow = await Promise.all(Array.from({ length: 8 }, () => raw(busy)));
    let gone = 0;
    for (const { socket, ended } of slow) {
      socket.write(HEAD);
      void ended.then(() => gone++);
    }
    assert.match(await sent(busy, `${HEAD}\r\n`), /alive/);
    await eventually(() => assert.equal(gone, 6, "two of them may go on"));
    await busy.close();
    await Promise.all(slow.map(({ ended }) => ended));
  });
});

test("clients that come at once do not all take the same place", { timeout: 20_000 }, async () => {
  const listener = await listen(app, LOCAL, limits);
  let open = 0;
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  for (let n = 0; n < 20; n++) {
    const socket = connect({ port: listener.port, host: "127.0.0.1" }, () => {
      open++;
      socket.write(HEAD);
    });
    socket.on("error", () => {});
    socket.on("close", () => --open === limits.connections && resolve());
  }
  await enough;
  await listener.close();
});

test("clients that are slow do not hold up the end", { timeout: 20_000 }, async () => {
  const listener = await listen(app, LOCAL, limits);
  const slow = await Promise.all([raw(listener), raw(listener)]);
  for (const { socket } of slow) socket.write(HEAD);
  await listener.close();
  await Promise.all(slow.map(({ ended }) => ended));
});
