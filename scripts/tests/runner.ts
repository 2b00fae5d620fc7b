/** Runs a test runner on some files. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { PROJECT } from "../project.ts";
import { startChild } from "../servers/process.ts";
import { readReport, type TestResult } from "./report.ts";

/** A test runner, the files it runs, and the bound of its time. */
export interface TestRun {
  readonly command: string;
  /** The arguments, but for the report. */
  readonly args: readonly string[];
  /** The option that names the file of the JUnit report. */
  readonly reportOption: string;
  /** A run that takes longer is taken to hang, and killed. Milliseconds. */
  readonly timeoutMs: number;
}

let runs = 0;

/**
 * Runs it and counts what its JUnit report says. A runner that fails without saying which test did (a crash, a module that does not load, a
 * time-out) counts as one failure.
 *
 * @param reports the folder of the reports
 * @param env what it gets beside our environment
 * @param live its output is printed as it comes; else as a whole when it has ended, so that runs side by side do not mix
 */
export async function runTests(
  { command, args, reportOption, timeoutMs }: TestRun,
  reports: string,
  env: Readonly<Record<string, string>>,
  live: boolean,
): Promise<TestResult> {
  const title = `$ ${[command.split("/").at(-1), ...args].join(" ")}`;
  if (live) console.log(title);
  const report = join(reports, `${++runs}.xml`);
  const output: string[] = [];
  const child = await startChild({
    command,
    args: [...args.slice(0, 1), `${reportOption}=${report}`, ...args.slice(1)],
    env: { ...environment(), ...env },
    cwd: PROJECT,
    ...(live ? { inherit: true } : { onLine: (line: string) => output.push(line) }),
  });
  const timer = setTimeout(() => {
    output.push(`The tests did not end within ${timeoutMs / 60_000} minutes.`);
    child.signal("SIGKILL");
  }, timeoutMs);
  const { code } = await child.exited;
  clearTimeout(timer);
  if (!live) output.unshift(title);
  console.log(output.join("\n"));
  const result = existsSync(report)
    ? readReport(readFileSync(report, "utf8"))
    : { passed: 0, failed: 0, failures: [] };
  return code === 0 || result.failed > 0
    ? result
    : { ...result, failed: 1, failures: [`${title}: exit code ${code}`] };
}

function environment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => value === undefined ? [] : [[name, value]]),
  );
}
