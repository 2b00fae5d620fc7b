/** Finds a Java installation and Maven on this machine. */
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { isReachableByServers } from "./process.ts";

/** A Java installation. */
export interface Java {
  /** What JAVA_HOME would be. */
  readonly home: string;
  /** The feature version: 17, 21, 25. */
  readonly major: number;
}

/**
 * The first Java whose version fits, looked for in JAVA_HOME, on the PATH, and where Linux and macOS put them; null where there is none.
 * Installations that the servers' user cannot enter are passed over.
 */
export function findJava(fits: (major: number) => boolean): Java | null {
  for (const home of candidates()) {
    const major = javaMajor(home);
    if (major !== null && fits(major) && isReachableByServers(home)) return { home, major };
  }
  return null;
}

/** The path of a command on the PATH, or null. */
export function findCommand(name: string): string | null {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (folder !== "" && existsSync(path)) return path;
  }
  return null;
}

function* candidates(): Generator<string> {
  if (process.env["JAVA_HOME"]) yield process.env["JAVA_HOME"];
  const onPath = findCommand("java");
  if (onPath !== null) yield dirname(dirname(realpathSync(onPath)));
  const roots = ["/usr/lib/jvm", "/opt/homebrew/opt", "/usr/local/opt", "/Library/Java/JavaVirtualMachines"];
  for (const root of roots) {
    if (!existsSync(root)) continue;
    for (const name of readdirSync(root).sort()) {
      yield join(root, name);
      yield join(root, name, "Contents", "Home");
      yield join(root, name, "libexec", "openjdk.jdk", "Contents", "Home");
    }
  }
}

/** Read from the file `release`, which every Java since 9 has: `JAVA_VERSION="17.0.15"`. Quicker than to run it. */
function javaMajor(home: string): number | null {
  const release = join(home, "release");
  if (!existsSync(release) || !existsSync(join(home, "bin", "java"))) return null;
  const version = /^JAVA_VERSION="(\d+)/m.exec(readFileSync(release, "utf8"))?.[1];
  return version === undefined ? null : Number(version);
}
