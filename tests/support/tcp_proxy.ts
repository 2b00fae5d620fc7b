/** A proxy between a client and a real server, to make the network fail: refuse, cut, or swallow. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { freePort } from "../../scripts/servers/ports.ts";

/** A proxy on the loopback interface. */
export interface TcpProxy {
  /** The target's URL with the proxy's host and port. */
  readonly url: string;
  /** Takes connections. */
  open(): Promise<void>;
  /** Cuts all connections and refuses new ones. */
  shut(): Promise<void>;
  /** Cuts all connections; new ones are taken. */
  cut(): void;
  /**
   * Lets so many more bytes of the server's answers through and cuts all connections after the last of them; new ones are taken. `cut`
   * says nothing of how much the client still gets: it may be all that the server had sent.
   */
  cutAfter(bytes: number): void;
  /** New connections lead to the server at `target` (a URL), as a name does that was changed. */
  lead(target: string): void;
  /** From now on the server's bytes go nowhere (`true`), as if it had stopped, or to the client again. */
  swallowAnswers(swallow: boolean): void;
  /** Holds back what the next client sends from the first bytes on that match; all others go through. */
  holdBack(pattern: RegExp): HeldBack;
  /** From now on the server's answers are kept back (`true`), as if it were slow, or delivered, what was kept first. */
  delayAnswers(delay: boolean): void;
  /** How many clients are connected. */
  readonly connections: number;
  /** As `shut`, for good. */
  stop(): Promise<void>;
}

/** A connection whose client has sent something that does not arrive. */
export interface HeldBack {
  /** Resolves when a client has sent what matches. */
  readonly caught: Promise<void>;
  /** Cuts the client off. What is held back stays. */
  cutClient(): void;
  /** Lets the bytes go. Resolves when the server has answered. */
  release(): Promise<void>;
}

/** How to set up a proxy. */
export interface TcpProxyOptions {
  /** PEM texts: the proxy speaks TLS to the client. With `ca`, clients must show a certificate of that authority. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca?: string };
  /** Leave it shut at first. */
  readonly shut?: boolean;
}

/** Starts a proxy before the server at `target` (a URL). */
export async function startTcpProxy(target: string, options: TcpProxyOptions = {}): Promise<TcpProxy> {
  let { hostname, port: targetPort } = new URL(target);
  const port = await freePort();
  const clients = new Set<Socket>();
  let swallowing = false;
  /** What delivers the answers that are kept back, in their order; null where they go through. */
  let delayed: (() => void)[] | null = null;
  /** How many bytes of answers go through before all is cut; null where all of them do. */
  let bytesLeft: number | null = null;
  let trap: Trap | null = null;
  let server: Server | null = null;

  const onClient = (client: Socket) => {
    const upstream = connect(Number(targetPort), hostname);
    clients.add(client);
    let held: Trap | null = null;
    const end = () => {
      clients.delete(client);
      client.destroy();
      // What is held back outlives its client, as it would in the network.
      if (held === null || held.isReleased) upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    client.on("data", (data) => {
      if (held === null && trap?.pattern.test(data.toString("latin1")) === true) {
        held = trap;
        trap = null;
        held.close(client, upstream);
      }
      if (held !== null && !held.isReleased) held.bytes.push(Buffer.from(data));
      else if (!upstream.write(data)) client.pause();
    });
    upstream.on("drain", () => client.resume());
    upstream.on("data", (data: Buffer) => {
      held?.answered.resolve();
      const deliver = () => {
        if (client.destroyed || client.writableEnded) return;
        if (bytesLeft !== null && data.length >= bytesLeft) {
          const last = data.subarray(0, bytesLeft);
          bytesLeft = null;
          client.end(last, cut);
          return;
        }
        if (bytesLeft !== null) bytesLeft -= data.length;
        if (!client.write(data)) upstream.pause();
      };
      if (swallowing) return;
      if (delayed === null) deliver();
      else delayed.push(deliver);
    });
    client.on("drain", () => upstream.resume());
  };

  const cut = () => {
    for (const client of [...clients]) client.destroy();
  };
  const proxy: TcpProxy = {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    holdBack(pattern) {
      trap = new Trap(pattern);
      return trap;
    },
    get connections() {
      return clients.size;
    },
    open: () =>
      new Promise((resolve, reject) => {
        const { tls } = options;
        server = tls === undefined
          ? createServer(onClient)
          : createTlsServer({ ...tls, requestCert: tls.ca !== undefined }, onClient);
        server.once("error", reject);
        server.listen(port, "127.0.0.1", () => resolve());
      }),
    shut: () =>
      new Promise((resolve) => {
        const listening = server;
        server = null;
        if (listening === null) resolve();
        else listening.close(() => resolve());
        cut();
      }),
    cut,
    cutAfter(bytes) {
      bytesLeft = bytes;
    },
    lead(to) {
      ({ hostname, port: targetPort } = new URL(to));
    },
    swallowAnswers(swallow) {
      swallowing = swallow;
    },
    delayAnswers(delay) {
      const kept = delayed ?? [];
      delayed = delay ? kept : null;
      if (!delay) { for (const deliver of kept) deliver(); }
    },
    stop: () => proxy.shut(),
  };
  if (options.shut !== true) await proxy.open();
  return proxy;
}

/** Waits for a client, then keeps its bytes. */
class Trap implements HeldBack {
  readonly bytes: Buffer[] = [];
  readonly answered = Promise.withResolvers<void>();
  readonly #caught = Promise.withResolvers<void>();
  readonly caught = this.#caught.promise;
  #sockets: { readonly client: Socket; readonly upstream: Socket } | null = null;
  isReleased = false;

  constructor(readonly pattern: RegExp) {}

  close(client: Socket, upstream: Socket): void {
    this.#sockets = { client, upstream };
    this.#caught.resolve();
  }

  cutClient(): void {
    this.#sockets?.client.destroy();
  }

  async release(): Promise<void> {
    this.isReleased = true;
    for (const data of this.bytes) this.#sockets?.upstream.write(data);
    await this.answered.promise;
    if (this.#sockets?.client.destroyed === true) this.#sockets.upstream.destroy();
  }
}
