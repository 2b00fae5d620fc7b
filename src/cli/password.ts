import process from "node:process";
import { PgsyncError } from "../errors/error.ts";
import { SIGNAL_EXIT } from "./signals.ts";

/**
 * Asks for a password on the terminal, without showing it.
 *
 * @throws PgsyncError USAGE where there is no terminal
 */
export function askPassword(question: string): Promise<string> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY || !stderr.isTTY) {
    throw new PgsyncError("USAGE", "--password asks for the password on a terminal, and there is none.", {
      remedy: "Set PG_PASSWORD or PG_URL instead.",
    });
  }
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  return new Promise((resolve) => {
    let typed = "";
    const onData = (keys: string | Uint8Array) => {
      for (const key of String(keys)) {
        if (key === "\r" || key === "\n" || key === "\u0004") { // return, or end of input
          stdin.off("data", onData);
          stdin.setRawMode(false);
          stdin.pause();
          stderr.write("\n");
          resolve(typed);
          return;
        }
        if (key === "\u0003") { // Ctrl-C, which raw mode keeps from being a signal
          stdin.setRawMode(false);
          stderr.write("\n");
          process.exit(SIGNAL_EXIT.SIGINT);
        }
        if (key === "\u007F" || key === "\b") typed = typed.slice(0, -1);
        else typed += key;
      }
    };
    stdin.on("data", onData);
    stdin.resume();
  });
}
