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
  /** From now on the server's bytes go nowhere (`true`), as if it had stopped, or to the client again. */
  swallowAnswers(swallow: boolean): void;
  /** How many clients are connected. */
  readonly connections: number;
  /** As `shut`, for good. */
  stop(): Promise<void>;
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
  const { hostname, port: targetPort } = new URL(target);
  const port = await freePort();
  const clients = new Set<Socket>();
  let swallowing = false;
  let server: Server | null = null;

  const onClient = (client: Socket) => {
    const upstream = connect(Number(targetPort), hostname);
    clients.add(client);
    const end = () => {
      clients.delete(client);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    client.on("data", (data) => {
      if (!upstream.write(data)) client.pause();
    });
    upstream.on("drain", () => client.resume());
    upstream.on("data", (data) => {
      if (!swallowing && !client.write(data)) upstream.pause();
    });
    client.on("drain", () => upstream.resume());
  };

  const cut = () => {
    for (const client of [...clients]) client.destroy();
  };
  const proxy: TcpProxy = {
    url: `${options.tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
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
    swallowAnswers(swallow) {
      swallowing = swallow;
    },
    stop: () => proxy.shut(),
  };
  if (options.shut !== true) await proxy.open();
  return proxy;
}
