/**
 * `deno task test [paths and options of deno test]`: starts the servers once, runs all tests or those named, then those of
 * tests/runtime that run under Bun, and ends with the line `N passed, N failed`. Exits with 1 where one failed or none ran.
 * What stands in a folder named `long` runs only where that folder, or one above it, is named; `deno task test:faults` does so.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { bunPath } from "./bun.ts";
import { PROJECT } from "./project.ts";
import { startElasticsearch } from "./servers/elasticsearch.ts";
import { startPostgres } from "./servers/postgres.ts";
import { beforeTheEnd, runScript, startChild } from "./servers/process.ts";
import { progressView } from "./servers/progress.ts";
import { provideJava } from "./servers/search.ts";

/** A test run that takes longer is taken to hang. */
const TIMEOUT_MS = 45 * 60_000;
/** The same where long tests are among them. */
const LONG_TIMEOUT_MS = 4 * TIMEOUT_MS;
/** Tests that are too long for every run. */
const LONG = /\/long\//;
/** The tests of the library in this very process; they run a second time under Bun. */
const IN_PROCESS = ["tests/runtime/library.test.ts", "tests/examples/library.test.ts"];

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

await runScript(async () => {
  const start = Date.now();
  const args = process.argv.slice(2);
  const paths = args.filter((arg) => !arg.startsWith("-") && existsSync(join(PROJECT, arg)));
  const files = paths.length === 0
    ? testFiles("tests").filter((file) => !LONG.test(file))
    : paths.flatMap((path) => testFiles(path));
  const timeoutMs = files.some((file) => LONG.test(file)) ? LONG_TIMEOUT_MS : TIMEOUT_MS;
  const reports = mkdtempSync(join(tmpdir(), "pgsync-edge-reports-"));
  beforeTheEnd(() => Promise.resolve(rmSync(reports, { recursive: true, force: true })));

  const env = { ...environment(), ...await startServers(files) };
  console.log(`servers ready after ${seconds(start)}`);
  const results = [
    await runTests(
      process.execPath,
      [
        "test",
        "-A",
        `--junit-path=${join(reports, "deno.xml")}`,
        ...(paths.length === 0 ? ["--ignore=tests/**/long", "tests"] : []),
        ...args,
      ],
      join(reports, "deno.xml"),
      env,
      timeoutMs,
    ),
  ];
  const again = IN_PROCESS.filter((file) => files.includes(file));
  if (again.length > 0) {
    results.push(
      await runTests(
        await bunPath(),
        [
          ...[
            "test",
            "--timeout=60000",
            "--reporter=junit",
            `--reporter-outfile=${join(reports, "bun.xml")}`,
          ],
          ...again.map((file) => `./${file}`),
        ],
        join(reports, "bun.xml"),
        env,
        timeoutMs,
      ),
    );
  }
  const passed = results.reduce((sum, counts) => sum + counts.passed, 0);
  const failed = results.reduce((sum, counts) => sum + counts.failed, 0);
  console.log(`\n${files.length} test files in ${seconds(start)}`);
  // The last line, after everything that stopping the servers may print.
  process.on("exit", () => console.log(`${passed} passed, ${failed} failed`));
  return failed === 0 && passed > 0 ? 0 : 1;
});

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(0)} s`;
}

/** The test files of a path, relative to the project, as the test runners take them. */
function testFiles(path: string): string[] {
  if (!statSync(join(PROJECT, path)).isDirectory()) return [path.replace(/^\.\//, "")];
  return readdirSync(join(PROJECT, path), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts")).sort()
    .map((name) => join(path, name));
}

/** Starts what the files need, side by side, and names it in the environment variables that tests/support reads. */
async function startServers(files: readonly string[]): Promise<Record<string, string>> {
  // The helpers beside the tests count too: often it is they who use a server.
  const folders = [...new Set(files.map((file) => dirname(file)))].filter((folder) => folder !== "tests");
  const helpers = folders.flatMap((folder) =>
    readdirSync(join(PROJECT, folder)).filter((name) => /(?<!\.test)\.ts$/.test(name)).map((name) =>
      join(folder, name)
    )
  );
  const texts = [...files, ...helpers].map((file) => readFileSync(join(PROJECT, file), "utf8"));
  // Another helper may use both.
  const support = texts.flatMap((text) =>
    [...text.matchAll(/support\/(\w+)\.ts/g)].map((match) => match[1] ?? "")
  );
  const other = support.some((name) => !["postgres", "elasticsearch", "eventually"].includes(name));
  const [needPostgres, needSearch] = ["postgres", "elasticsearch"].map((name) =>
    other || support.includes(name)
  );
  const view = progressView();
  const onProgress = view.bytes;
  const env: Record<string, string> = {};
  try {
    await Promise.all([
      ...(needPostgres ? ([15, 17] as const) : []).map(async (major) => {
        env[`PGSYNC_TEST_POSTGRES_${major}`] = (await startPostgres({ major, onProgress })).url;
      }),
      ...(needSearch ? [0] : []).map(async () => {
        await provideJava({ install: process.env["CI"] === "true", log: view.log });
        env["PGSYNC_TEST_ELASTICSEARCH"] = (await startElasticsearch({ onProgress })).url;
      }),
    ]);
  } finally {
    view.stop();
  }
  return env;
}

function environment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]),
  );
}

/**
 * Runs a test runner with its output going to ours, and counts what its JUnit report says. A runner that fails without saying which test
 * did (a crash, a module that does not load, a time-out) counts as one failure.
 */
async function runTests(
  command: string,
  args: readonly string[],
  report: string,
  env: Record<string, string>,
  timeoutMs: number,
): Promise<Counts> {
  console.log(`$ ${[command.split("/").at(-1), ...args].join(" ")}`);
  const child = await startChild({ command, args, env, cwd: PROJECT, inherit: true });
  const timer = setTimeout(() => {
    console.error(`The tests did not end within ${timeoutMs / 60_000} minutes.`);
    child.signal("SIGKILL");
  }, timeoutMs);
  const { code } = await child.exited;
  clearTimeout(timer);
  const { passed, failed } = existsSync(report)
    ? countsOf(readFileSync(report, "utf8"))
    : { passed: 0, failed: 0 };
  return { passed, failed: code === 0 ? failed : Math.max(failed, 1) };
}

/** Counts the test cases of a JUnit report; those skipped count as neither. */
function countsOf(xml: string): Counts {
  let passed = 0;
  let failed = 0;
  for (
    const [, body = ""] of xml.matchAll(/<testcase\b(?:"[^"]*"|[^">/])*(?:\/>|>([\s\S]*?)<\/testcase>)/g)
  ) {
    if (/<(failure|error)\b/.test(body)) failed++;
    else if (!/<skipped\b/.test(body)) passed++;
  }
  return { passed, failed };
}
