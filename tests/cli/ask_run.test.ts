/** How a running process is asked: directly, for so long, and for so much. */
import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import { after, describe, it } from "node:test";
import { z } from "zod";
import { askRun } from "../../src/cli/ask_run.ts";
import { pgsync } from "./process.ts";

const TOKEN = "0123456789abcdef";

/** A server of the test; its address. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return `http://127.0.0.1:${address.port}`;
}

function ask(url: string, timeoutMs = 20_000) {
  return askRun({ url, token: TOKEN }, { path: "/x", schema: z.object({ a: z.number() }), timeoutMs });
}

describe("A run that is asked", () => {
  it("gets the token itself; a proxy that the environment names gets nothing", async () => {
    const seen: unknown[] = [];
    const proxy = await serve((request, response) => {
      seen.push(request.url, request.headers.authorization);
      response.end("{}");
    });
    const asked: unknown[] = [];
    const url = await serve((request, response) => {
      asked.push(request.headers.authorization);
      response.writeHead(401).end("{}");
    });
    const proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]);
    const env = {
      ...Object.fromEntries(proxies.map((name) => [name, proxy])),
      PGSYNC_TOKEN: TOKEN,
      PGSYNC_ENV_FILE: "off",
    };
    const { code, stderr } = await pgsync(["status", "--url", url], { env });
    assert.equal(code, 3);
    assert.match(stderr, /STATUS_LOGIN/);
    assert.deepEqual([seen, asked], [[], [`Bearer ${TOKEN}`]]);
  });

  it("does not lead elsewhere", async () => {
    const seen: unknown[] = [];
    const other = await serve((request, response) => {
      seen.push(request.url);
      response.end('{"a":1}');
    });
    const url = await serve((_request, response) => response.writeHead(302, { location: other }).end());
    await assert.rejects(ask(url), { code: "STATUS_UNREACHABLE", message: /HTTP 302/ });
    assert.deepEqual(seen, []);
  });

  it("has so long for its whole answer", async () => {
    const silent = await serve(() => {});
    await assert.rejects(ask(silent, 100), { code: "STATUS_UNREACHABLE", message: /within 0\.1 s/ });
    const slow = await serve((_request, response) => void response.writeHead(200).write('{"a":'));
    await assert.rejects(ask(slow, 100), { code: "STATUS_UNREACHABLE", message: /within 0\.1 s/ });
  });

  it("cannot fill the memory", async () => {
    const chunk = " ".repeat(1024 * 1024);
    let sent = 0;
    const endless = await serve((_request, response) => {
      const send = () => {
        while (!response.destroyed && response.write(chunk)) sent++;
      };
      response.on("drain", send);
      send();
    });
    await assert.rejects(ask(endless), { code: "STATUS_UNREACHABLE", message: /not that of pgsync/ });
    assert.ok(sent < 200, `${sent} MB`);
  });

  it("is understood", async () => {
    const url = await serve((_request, response) => response.end('{"a":1,"b":"ключ"}'));
    assert.deepEqual(await ask(url), { text: '{"a":1,"b":"ключ"}', answer: { a: 1 } });
  });
});
