import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import type { DeadLetterAccess } from "../sync/dead_letters.ts";
import {
  MOST_BODY_BYTES,
  MOST_LISTED,
  type SelectionJson,
  selectionJson,
  toDeadLetterJson,
} from "./dead_letters_json.ts";
import { demandSameSite } from "./guard.ts";

const limitBody = bodyLimit({
  maxSize: MOST_BODY_BYTES,
  onError: (context) => context.json({ error: `The request has more than ${MOST_BODY_BYTES} bytes.` }, 413),
});

/** Where a run serves its dead letters. */
export interface DeadLetterSource {
  readonly access: DeadLetterAccess;
  /** The indices of the schema file. */
  readonly indices: readonly string[];
}

const DEFAULT_LIMIT = 100;

const queryJson = z.strictObject({
  index: z.array(z.string()).optional(),
  limit: z.tuple([z.string().regex(/^\d{1,4}$/).transform(Number).pipe(z.number().min(1).max(MOST_LISTED))])
    .optional(),
  afterIndex: z.tuple([z.string()]).optional(),
  afterId: z.tuple([z.string()]).optional(),
}).refine(({ afterIndex, afterId }) => (afterIndex === undefined) === (afterId === undefined), {
  error: "afterIndex and afterId go together",
});

/**
 * What is to be done with documents that were refused. Who may ask is the caller's matter.
 *
 * - `GET /?index=…&limit=…&afterIndex=…&afterId=…`: a page of them
 * - `POST /retry`: builds and writes them anew, so many at a time
 * - `POST /drop`: forgets them
 */
export function deadLetterRoutes({ access, indices }: DeadLetterSource): Hono {
  const routes = new Hono();
  routes.get("/", async (context) => {
    const query = queryJson.safeParse(context.req.queries());
    if (!query.success) return context.json({ error: complaint(query.error) }, 400);
    const { index, limit, afterIndex, afterId } = query.data;
    const after = afterIndex === undefined || afterId === undefined
      ? null
      : { index: afterIndex[0], id: afterId[0] };
    const page = await access.list({ indices: index ?? indices, limit: limit?.[0] ?? DEFAULT_LIMIT, after });
    return context.json({ ...page, deadLetters: page.deadLetters.map(toDeadLetterJson) });
  });
  routes.use("/*", demandSameSite(), limitBody);
  routes.post("/retry", async (context) => {
    const asked = await selected(context.req);
    const after = asked.after ?? null;
    return context.json(
      await access.retry({ indices: asked.index ?? indices, ids: asked.id ?? null, after }),
    );
  });
  routes.post("/drop", async (context) => {
    const asked = await selected(context.req);
    return context.json({
      dropped: await access.drop({ indices: asked.index ?? indices, ids: asked.id ?? null }),
    });
  });
  return routes;
}

/** The answer to a request that was refused for a reason that whoever asked may know; null for any other error. */
export function refusalOf(error: unknown, context: Context): Response | null {
  if (error instanceof BadRequest) return context.json({ error: error.message }, 400);
  if (!(error instanceof PgsyncError)) return null;
  const { code, message, remedy, next } = error;
  const status = next === "retry" ? 503 : code === "REQUEST_REFUSED" ? 404 : 500;
  return context.json({ error: message, code, remedy }, status);
}

class BadRequest extends Error {}

async function selected(request: { json(): Promise<unknown> }): Promise<SelectionJson> {
  const body = await request.json().catch((cause: unknown) => {
    if (cause instanceof SyntaxError) throw new BadRequest("the request is no JSON");
    throw cause;
  });
  const selection = selectionJson.safeParse(body);
  if (selection.success) return selection.data;
  throw new BadRequest(complaint(selection.error));
}

function complaint(error: z.ZodError): string {
  return error.issues.map(({ path, message }) =>
    [path.join("."), message].filter((part) => part !== "").join(": ")
  )
    .join("; ");
}
