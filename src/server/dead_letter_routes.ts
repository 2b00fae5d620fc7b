import { type Context, Hono, type MiddlewareHandler } from "hono";
import { z } from "zod";
import { PgsyncError } from "../errors/error.ts";
import {
  type DeadLetterAccess,
  type DeadLetterCursor,
  LISTED_BY_DEFAULT,
} from "../sync/dead_letters/dead_letters.ts";
import { dropJson, MOST_IDS, MOST_LISTED, retryJson, toDeadLetterJson } from "./dead_letters_json.ts";
import { BadRequest } from "./http_exchange.ts";

/** Where a run serves its dead letters. */
export interface DeadLetterSource {
  readonly access: DeadLetterAccess;
  /** The indices of the schema file. */
  readonly indices: readonly string[];
}

const queryJson = z.strictObject({
  index: z.array(z.string()).optional(),
  id: z.array(z.string()).max(MOST_IDS).optional(),
  limit: z.tuple([z.string().regex(/^\d{1,4}$/).transform(Number).pipe(z.number().min(1).max(MOST_LISTED))])
    .optional(),
  afterIndex: z.tuple([z.string()]).optional(),
  afterId: z.tuple([z.string()]).optional(),
}).refine(({ afterIndex, afterId }) => (afterIndex === undefined) === (afterId === undefined), {
  error: "afterIndex and afterId go together",
}).refine(({ id, limit, afterId }) => id === undefined || (limit === undefined && afterId === undefined), {
  error: "id goes without limit, afterIndex and afterId",
});

/** A page of another site cannot send this type without being allowed to (CORS), whatever a proxy adds to its requests. */
const demandJson: MiddlewareHandler = async (context, next) => {
  const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type === "application/json") return await next();
  return context.json({ error: "The request's content type must be application/json." }, 415);
};

/**
 * What is to be done with documents that were refused. Who may ask is the caller's matter.
 *
 * - `GET /?index=…&limit=…&afterIndex=…&afterId=…`: a page of them; `GET /?index=…&id=…`: those with the ids
 * - `POST /retry`: builds and writes them anew, so many at a time
 * - `POST /drop`: forgets them
 */
export function deadLetterRoutes({ access, indices }: DeadLetterSource): Hono {
  const routes = new Hono();
  routes.get("/", async (context) => {
    const query = queryJson.safeParse(context.req.queries());
    if (!query.success) return context.json({ error: complaint(query.error) }, 400);
    const { index: asked = indices, id = null, limit, afterIndex, afterId } = query.data;
    const after = afterIndex === undefined || afterId === undefined
      ? null
      : among(asked, { index: afterIndex[0], id: afterId[0] });
    const page = await access.list({
      indices: asked,
      ids: id,
      limit: limit?.[0] ?? LISTED_BY_DEFAULT,
      after,
    });
    return context.json({ ...page, deadLetters: page.deadLetters.map(toDeadLetterJson) });
  });
  routes.use("/*", demandJson);
  routes.post("/retry", async (context) => {
    const { index: asked = indices, id = null, after = null } = await body(context.req, retryJson);
    return context.json(await access.retry({ indices: asked, ids: id, after: after && among(asked, after) }));
  });
  routes.post("/drop", async (context) => {
    const { index: asked = indices, id = null } = await body(context.req, dropJson);
    return context.json({ dropped: await access.drop({ indices: asked, ids: id }) });
  });
  return routes;
}

/** The answer to a request that was refused for a reason that whoever asked may know; null for any other error. */
export function refusalOf(error: unknown, context: Context): Response | null {
  if (error instanceof BadRequest) return context.json({ error: error.message }, error.status);
  if (!(error instanceof PgsyncError)) return null;
  const { code, message, remedy, next } = error;
  const status = next === "retry" ? 503 : code === "REQUEST_REFUSED" ? 404 : 500;
  return context.json({ error: message, code, remedy }, status);
}

async function body<T>(request: { json(): Promise<unknown> }, schema: z.ZodType<T>): Promise<T> {
  const json = await request.json().catch((cause: unknown) => {
    if (cause instanceof SyntaxError) throw new BadRequest(400, "the request is no JSON");
    throw cause;
  });
  const read = schema.safeParse(json);
  if (read.success) return read.data;
  throw new BadRequest(400, complaint(read.error));
}

/** A place in a list of other indices would be its end. */
function among(indices: readonly string[], after: DeadLetterCursor): DeadLetterCursor {
  if (indices.includes(after.index)) return after;
  throw new BadRequest(400, `after: "${after.index}" is not among the indices that are asked for`);
}

function complaint(error: z.ZodError): string {
  return error.issues.map(({ path, message }) =>
    [path.join("."), message].filter((part) => part !== "").join(": ")
  )
    .join("; ");
}
