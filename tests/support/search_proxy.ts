/**
 * A gateway before a real search engine that understands HTTP and fails as gateways, networks and busy engines do. What happens to
 * bytes and connections alone is tcp_proxy.ts's.
 */
import { createServer, type Socket } from "node:net";
import { freePort } from "../../scripts/servers/ports.ts";

/** What becomes of a request. */
export type SearchFault =
  /** It is answered with this status and does not reach the engine. */
  | { readonly kind: "status"; readonly status: 403 | 429 | 502 | 503 | 504 }
  /** It is carried out; the connection is cut in the middle of the answer's body. */
  | { readonly kind: "cut-answer" }
  /** It is carried out; the connection is cut before the answer. */
  | { readonly kind: "lost-answer" }
  /** It is carried out; the answer comes when the fault is over. */
  | { readonly kind: "late-answer" }
  /** Every other one is carried out when the fault is over, whether or not the client still waits; those between are at once. */
  | { readonly kind: "late-request" }
  /** It goes nowhere, and no answer comes as long as the client waits. */
  | { readonly kind: "frozen" }
  /** The first half of a bulk request's items is carried out; the others are answered 429. Of one item it is none. */
  | { readonly kind: "half-refused" }
  /** The first half of a bulk request's items is carried out; then the connection is cut. */
  | { readonly kind: "half-lost" };

/** Which requests fail: bulk requests, all, or those whose paths match. */
export type FailingRequests = "bulk" | "all" | RegExp;

/** A gateway on the loopback interface. */
export interface SearchProxy {
  readonly url: string;
  /** How many requests have met the present fault, or the last one. */
  readonly met: number;
  /** How many of these the engine has answered, wholly or in part. */
  readonly carriedOut: number;
  /** How many of these are kept back still. */
  readonly keptBack: number;
  /** From now on requests fail like this. What the last fault kept waiting is answered. */
  fail(fault: SearchFault, which: FailingRequests): void;
  /** From now on all is well. */
  mend(): void;
  /** Cuts all connections, and takes no more. @throws Error what went wrong in the gateway itself */
  stop(): Promise<void>;
}

interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: Buffer;
}

/** Starts a gateway before the search engine at `target` (a URL). */
export async function startSearchProxy(target: string): Promise<SearchProxy> {
  const port = await freePort();
  const clients = new Set<Socket>();
  const unexpected: unknown[] = [];
  let failing: Failing | null = null;
  let over = Promise.withResolvers<void>();
  /** Of the present fault, or the last one. */
  let count = { met: 0, carriedOut: 0, keptBack: 0 };

  const handle = async (request: HttpRequest, client: Socket) => {
    const isBulk = request.path.includes("/_bulk");
    if (failing === null || !failing.concerns(request.path)) {
      send(client, await forward(target, request));
      return;
    }
    const { fault } = failing;
    const untilOver = over.promise;
    const counted = count;
    counted.met++;
    const carryOut = async () => {
      const answer = await forward(target, request);
      counted.carriedOut++;
      return answer;
    };
    const carryHalfOut = async () => {
      const { answer, taken } = await takeHalf(target, request);
      if (taken > 0) counted.carriedOut++;
      return answer;
    };
    switch (fault.kind) {
      case "status":
        return send(client, gatewayAnswer(fault.status));
      case "frozen":
        return;
      case "late-answer": {
        const answer = await carryOut();
        await untilOver;
        return send(client, answer);
      }
      case "late-request":
        if (counted.met % 2 === 0) return send(client, await carryOut());
        counted.keptBack++;
        await untilOver;
        await carryOut();
        counted.keptBack--;
        return void client.destroy();
      case "lost-answer":
        await carryOut();
        return void client.destroy();
      case "cut-answer":
        return cutInTheMiddle(client, await carryOut());
      case "half-refused":
        return send(client, isBulk ? await carryHalfOut() : gatewayAnswer(429));
      case "half-lost":
        if (isBulk) await carryHalfOut();
        return void client.destroy();
    }
  };

  const server = createServer((client) => {
    clients.add(client);
    client.on("error", () => client.destroy());
    client.on("close", () => clients.delete(client));
    void serve(client, handle, (error) => unexpected.push(error));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const change = (to: typeof failing) => {
    failing = to;
    over.resolve();
    over = Promise.withResolvers();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    get met() {
      return count.met;
    },
    get carriedOut() {
      return count.carriedOut;
    },
    get keptBack() {
      return count.keptBack;
    },
    fail(fault, which) {
      count = { met: 0, carriedOut: 0, keptBack: 0 };
      const concerns = (path: string) =>
        which === "all" || (which === "bulk" ? path.includes("/_bulk") : which.test(path));
      change({ fault, concerns });
    },
    mend: () => change(null),
    async stop() {
      change(null);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const client of clients) client.destroy();
      await closed;
      const [first] = unexpected;
      if (first !== undefined) throw new Error("the gateway itself has failed", { cause: first });
    },
  };
}

interface Failing {
  readonly fault: SearchFault;
  concerns(path: string): boolean;
}

/** Reads the requests of a connection one after the other. @param onError told of what no client and no fault is the reason of */
async function serve(
  client: Socket,
  handle: (request: HttpRequest, client: Socket) => Promise<void>,
  onError: (error: unknown) => void,
): Promise<void> {
  let bytes: Buffer = Buffer.alloc(0);
  const take = async (data: Buffer) => {
    bytes = Buffer.concat([bytes, data]);
    for (let read = readRequest(bytes); read !== null; read = readRequest(bytes)) {
      bytes = bytes.subarray(read.length);
      await handle(read.request, client);
    }
  };
  try {
    for await (const data of client) {
      try {
        await take(data);
      } catch (error) {
        onError(error);
        return;
      }
    }
  } catch {
    // The client has gone.
  } finally {
    client.destroy();
  }
}

/** The first request of the bytes; null where it has not come wholly. */
function readRequest(bytes: Buffer): { readonly request: HttpRequest; readonly length: number } | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const [method = "", path = ""] = first.split(" ");
  const headers = new Map(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  if (headers.has("transfer-encoding")) {
    throw new Error("a chunked request is more than this gateway understands");
  }
  const length = end + 4 + Number(headers.get("content-length") ?? 0);
  if (bytes.length < length) return null;
  return { request: { method, path, headers, body: bytes.subarray(end + 4, length) }, length };
}

/** Has the engine carry out a request, whether or not the client still waits. */
async function forward(
  target: string,
  request: HttpRequest,
  body: Buffer = request.body,
): Promise<HttpAnswer> {
  const headers: Record<string, string> = {};
  for (const name of ["content-type", "content-encoding", "accept"]) {
    const value = request.headers.get(name);
    if (value !== undefined) headers[name] = value;
  }
  const response = await fetch(new URL(request.path, target), {
    method: request.method,
    headers,
    ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
  });
  return {
    status: response.status,
    contentType: response.headers.get("content-type") ?? "",
    body: Buffer.from(await response.arrayBuffer()),
  };
}

function head({ status, contentType, body }: HttpAnswer): string {
  return `HTTP/1.1 ${status} -\r\ncontent-type: ${contentType}\r\nx-elastic-product: Elasticsearch\r\n` +
    `content-length: ${body.length}\r\n\r\n`;
}

function send(client: Socket, answer: HttpAnswer): void {
  if (client.destroyed) return;
  client.write(Buffer.concat([Buffer.from(head(answer), "latin1"), answer.body]));
}

function cutInTheMiddle(client: Socket, answer: HttpAnswer): void {
  const part = answer.body.subarray(0, Math.floor(answer.body.length / 2));
  client.write(Buffer.concat([Buffer.from(head(answer), "latin1"), part]), () => client.destroy());
}

/** As a gateway says it: a page for people. An engine that is overloaded says it in JSON. */
function gatewayAnswer(status: number): HttpAnswer {
  if (status !== 429) {
    return {
      status,
      contentType: "text/html",
      body: Buffer.from(`<html><h1>${status} from the gateway</h1></html>`),
    };
  }
  const body = JSON.stringify({ error: REJECTED, status });
  return { status, contentType: "application/json", body: Buffer.from(body) };
}

const REJECTED = { type: "es_rejected_execution_exception", reason: "the queue is full" };

/** Has the first half of a bulk request's items carried out. @returns the answer to all of them, and how many were */
async function takeHalf(
  target: string,
  request: HttpRequest,
): Promise<{ readonly answer: HttpAnswer; readonly taken: number }> {
  const items = bulkItems(request.body);
  const taken = items.slice(0, Math.floor(items.length / 2));
  const told = taken.length === 0
    ? []
    : itemsOf(await forward(target, request, Buffer.concat(taken.map(({ bytes }) => bytes))));
  const refused = items.slice(taken.length).map(({ operation }) => ({
    [operation]: { status: 429, error: REJECTED },
  }));
  const body = JSON.stringify({ errors: true, items: [...told, ...refused] });
  const answer = { status: 200, contentType: "application/json", body: Buffer.from(body) };
  return { answer, taken: taken.length };
}

function itemsOf(answer: HttpAnswer): unknown[] {
  const parsed: { items?: unknown[] } = JSON.parse(answer.body.toString("utf8"));
  if (parsed.items === undefined) throw new Error(`no items in the answer: ${answer.body}`);
  return parsed.items;
}

/** The items of a bulk request with their lines. */
function bulkItems(body: Buffer): { readonly operation: string; readonly bytes: Buffer }[] {
  const items: { operation: string; bytes: Buffer }[] = [];
  for (let from = 0; from < body.length;) {
    let to = body.indexOf("\n", from) + 1;
    const [operation = ""] = Object.keys(JSON.parse(body.subarray(from, to).toString("utf8")));
    if (operation !== "delete") to = body.indexOf("\n", to) + 1;
    items.push({ operation, bytes: body.subarray(from, to) });
    from = to;
  }
  return items;
}
