/** Which files a test run has, and in which batches it runs them. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { PROJECT } from "../project.ts";

/** Tests that are too long for every run stand in folders of this name. */
const LONG = /\/long\//;
/** Few enough that the lanes end at about the same time, enough that starting the test runner does not count. */
const FILES_PER_BATCH = 4;

/** What the arguments of `deno task test` ask for. */
export interface Selection {
  /** The test files, relative to the project. */
  readonly files: readonly string[];
  /** What is left of the arguments: options of `deno test`. */
  readonly options: readonly string[];
}

/** All test files but the long ones, or those of the paths that are among the arguments. */
export function selectTests(args: readonly string[]): Selection {
  const isPath = (arg: string) => !arg.startsWith("-") && existsSync(join(PROJECT, arg));
  const paths = args.filter(isPath);
  return {
    files: paths.length === 0
      ? testFiles("tests").filter((file) => !LONG.test(file))
      : paths.flatMap((path) => testFiles(path)),
    options: args.filter((arg) => !isPath(arg)),
  };
}

/** True where one of the files is too long for every run. */
export function hasLongTests(files: readonly string[]): boolean {
  return files.some((file) => LONG.test(file));
}

/** Groups the files, in their order, into batches: at most four files of one folder in each. */
export function batchesOf(files: readonly string[]): string[][] {
  const batches: string[][] = [];
  for (const file of files) {
    const last = batches.at(-1);
    const [first] = last ?? [];
    if (
      last === undefined || first === undefined || last.length === FILES_PER_BATCH ||
      dirname(first) !== dirname(file)
    ) {
      batches.push([file]);
    } else {
      last.push(file);
    }
  }
  return batches;
}

/** The test files of a path, relative to the project, as the test runners take them. */
function testFiles(path: string): string[] {
  if (!statSync(join(PROJECT, path)).isDirectory()) return [path.replace(/^\.\//, "")];
  return readdirSync(join(PROJECT, path), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts")).sort()
    .map((name) => join(path, name));
}
