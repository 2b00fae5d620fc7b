/** Child processes of the checkpoint tests, run by whichever runtime runs the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Starts a script of this folder with an argument; stdout is piped, stderr shown. @param settings statements of a shell that becomes the script */
export function startChild(script: string, arg: string, settings?: { readonly shell: string }): ChildProcess {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const run = "Deno" in globalThis ? ["run", "-A", "--no-check", file] : [file];
  const [command, ...args] = settings === undefined
    ? [process.execPath, ...run, arg]
    : ["sh", "-c", `${settings.shell}; exec "$@"`, "sh", process.execPath, ...run, arg];
  return spawn(command ?? "", args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** The lines of a child's stdout as they come. A line cut off by the child's end is not given. */
export async function* lines(child: ChildProcess): AsyncGenerator<string> {
  if (child.stdout === null) throw new TypeError("the child's stdout is not piped");
  let rest = "";
  for await (const chunk of child.stdout) {
    const parts = (rest + String(chunk)).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
