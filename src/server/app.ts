import { getLogger } from "@logtape/logtape";
import { Hono } from "hono";
import type { Registry } from "prom-client";
import type { RunStatus } from "../status/status.ts";
import { deadLetterRoutes, type DeadLetterSource, refusalOf } from "./dead_letter_routes.ts";
import { type AccessRules, demandOwnName, demandToken, mayReadStatus } from "./guard.ts";
import { statusPage } from "./page.ts";
import { toStatusJson } from "./status_json.ts";

/** What the server tells of. */
export interface StatusSource {
  /** A snapshot of the run. */
  status(): RunStatus;
  readonly metrics: Registry;
  readonly version: string;
  readonly deadLetters: DeadLetterSource;
  readonly access: AccessRules;
}

/** What a browser may do with an answer: show it, and nothing else; load nothing, run nothing, embed and keep it nowhere. */
const SECURITY_HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy":
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/** Why a run is not ready, without what a server has said: that may be a value of a row, or the name of a host. */
function inCodes({ ready, databases }: RunStatus): readonly string[] {
  if (ready) return [];
  if (databases.length === 0) return ["starting"];
  return databases.filter((database) => !database.ready).map(({ phase, faults }) => {
    const last = faults.at(-1);
    return last === undefined ? phase : `${phase}, last fault: ${last.code}`;
  });
}

/**
 * The HTTP interface of a run. It tells no secret, for it knows none but the token that it asks for.
 *
 * - `GET /health`: 200 while the process lives
 * - `GET /ready`: 200 when every database is ready, else 503 with the reasons (phases and codes to whoever may not read the status); `?standby=ok`: 200 also for a process that stands by
 * - `GET /metrics`: Prometheus' text format
 * - `GET /status`: everything as JSON
 * - `GET /`: the same for people
 * - `GET /dead-letters`, `POST /dead-letters/retry`, `POST /dead-letters/drop`: the documents that were refused
 */
export function createApp(source: StatusSource): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) context.header(name, value);
  });
  const { access } = source;
  for (const path of ["/dead-letters", "/dead-letters/*"]) app.use(path, demandToken(access));
  if (access.guardsStatus) { for (const path of ["/", "/status"]) app.use(path, demandToken(access)); }
  else for (const path of ["/", "/status", "/metrics"]) app.use(path, demandOwnName(access));
  app.route("/dead-letters", deadLetterRoutes(source.deadLetters));
  app.get("/health", (context) => context.json({ status: "alive" }));
  app.get("/ready", (context) => {
    const run = source.status();
    const { ready, standby } = run;
    const notReady = mayReadStatus(access, context) ? run.notReady : inCodes(run);
    const isWell = ready || standby && context.req.query("standby") === "ok";
    const status = ready ? "ready" : standby ? "standby" : "not-ready";
    return context.json({ status, ready, notReady }, isWell ? 200 : 503);
  });
  app.get("/metrics", async (context) => {
    const text = await source.metrics.metrics();
    return context.body(text, 200, { "Content-Type": source.metrics.contentType });
  });
  app.get("/status", (context) => context.json(toStatusJson(source.status(), source.version, new Date())));
  app.get(
    "/",
    (context) => context.html(statusPage(toStatusJson(source.status(), source.version, new Date()))),
  );
  app.notFound((context) =>
    context.json({ error: "There are /, /health, /ready, /metrics, /status and /dead-letters." }, 404)
  );
  app.onError((error, context) => {
    const refusal = refusalOf(error, context);
    if (refusal !== null) return refusal;
    getLogger(["pgsync", "server"]).error("{method} {path} failed", {
      method: context.req.method,
      path: context.req.path,
      error,
    });
    return context.json({ error: "The request failed; the log says why." }, 500);
  });
  return app;
}
