/** The layout's promises: imports run one way, and only the edge of the program reads the environment or prints. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SOURCES = fileURLToPath(new URL("../src", import.meta.url));

/** Folders from the top down: a folder imports only from those in rows below its own. */
const ROWS: readonly (readonly string[])[] = [
  ["cli"],
  ["server"],
  ["sync"],
  ["load"],
  ["changes"],
  ["verify"],
  ["documents"],
  ["status"],
  ["mapping"],
  ["replication", "search", "checkpoint", "catalog"],
  ["postgres", "schema"],
  ["retry"],
  ["errors", "memory"],
];
/** A position in the WAL is a number that every row may speak of; safeguards that tests leave out stand in every row. */
const SHARED = new Set(["replication/lsn.ts", "version.ts", "fault_points.ts"]);

function sources(): { path: string; text: string }[] {
  return readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => ({ path, text: readFileSync(join(SOURCES, path), "utf8") }));
}

/** Files of ours that a file imports, types included. */
function importedBy(path: string, text: string): string[] {
  return [...text.matchAll(/(?:from |import\()"(\.[^"]+)"/g)].map(([, target = ""]) =>
    relative(SOURCES, join(SOURCES, dirname(path), target))
  );
}

function rowOf(path: string): number {
  const folder = path.split("/")[0] ?? "";
  const row = ROWS.findIndex((folders) => folders.includes(folder));
  assert.notEqual(row, -1, `${path} stands in no folder of the layout`);
  return row;
}

test("imports run one way", () => {
  const wrong: string[] = [];
  for (const { path, text } of sources()) {
    if (SHARED.has(path)) continue;
    for (const imported of importedBy(path, text)) {
      if (imported.startsWith("..") || SHARED.has(imported)) continue;
      if (imported.split("/")[0] === path.split("/")[0]) continue;
      if (rowOf(imported) <= rowOf(path)) wrong.push(`${path} imports ${imported}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("no files import each other in a circle", () => {
  const imports = new Map(sources().map(({ path, text }) => [path, importedBy(path, text)]));
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (path: string, way: readonly string[]) => {
    if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(" → "));
    if (done.has(path) || way.includes(path)) return;
    for (const imported of imports.get(path) ?? []) visit(imported, [...way, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  assert.deepEqual(circles, []);
});

test("only the command line and the server print or read the environment", () => {
  const wrong = sources()
    .filter(({ path }) => !["cli", "server"].includes(path.split("/")[0] ?? ""))
    .filter(({ text }) =>
      /\bconsole\.|process\.(env|stdout|stderr|argv|exit)\b|Deno\.env/.test(withoutComments(text))
    )
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
});

test("nothing is exported by default, asserted to be there, or typed any", () => {
  const wrong = sources().flatMap(({ path, text }) =>
    [/export default/, /:\s*any\b/, /as any\b/, /@ts-(ignore|nocheck|expect-error)/]
      .filter((pattern) => pattern.test(withoutComments(text)))
      .map((pattern) => `${path}: ${pattern.source}`)
  );
  assert.deepEqual(wrong, []);
});

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^\s*\/\/.*$/gm, "");
}

test("only tests leave a safeguard out, or hear of milestones", () => {
  const wrong = sources().filter(({ path, text }) =>
    path !== "fault_points.ts" && /\b(leaveOut|atMilestones)\b/.test(text)
  );
  assert.deepEqual(wrong.map(({ path }) => path), []);
});
