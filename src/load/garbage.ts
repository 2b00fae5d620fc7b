/**
 * Asks the runtime to collect garbage now, where it lets itself be asked (Bun does; Deno needs no asking).
 *
 * JavaScriptCore lets what has survived a short collection lie until the heap has grown threefold. During the initial load
 * the lists of a request live just long enough for that: measured, 230 MB resident at the end of 100,000 documents, of which
 * 40 MB were in use. A collection takes some 15 ms.
 */
export function collectGarbage(): void {
  const runtime: unknown = Reflect.get(globalThis, "Bun");
  if (typeof runtime !== "object" || runtime === null) return;
  const collect: unknown = Reflect.get(runtime, "gc");
  if (typeof collect === "function") collect(true);
}
