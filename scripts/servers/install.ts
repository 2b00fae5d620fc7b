/** Installing Java and Maven where the machine's package manager can be used without asking. */
import { spawnSync } from "node:child_process";
import { findCommand } from "./java.ts";
import { isRoot, runToEnd } from "./process.ts";

/** What a machine can lack. */
export type Missing = "java" | "maven";

/** Feature versions of Java in the order in which they are preferred; Debian and Ubuntu have one or two of them. */
const JAVA_VERSIONS = [17, 21, 25];

/** The line that installs what is missing on this machine, or null where we know no package manager. */
export function installLine(missing: readonly Missing[]): string | null {
  if (findCommand("apt-get") !== null) {
    const packages = aptPackages(missing).join(" ");
    const sudo = isRoot() ? "" : "sudo ";
    return `${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${packages}`;
  }
  if (findCommand("dnf") !== null) {
    const packages = missing.map((one) => one === "java" ? "java-21-openjdk-headless" : "maven").join(" ");
    return `${isRoot() ? "" : "sudo "}dnf install -y ${packages}`;
  }
  if (findCommand("brew") !== null) {
    return `brew install ${missing.map((one) => one === "java" ? "openjdk@17" : "maven").join(" ")}`;
  }
  return null;
}

/** True where {@link installMissing} may run without a person: apt as root, or with a sudo that asks no password. */
export function canInstall(): boolean {
  if (findCommand("apt-get") === null) return false;
  return isRoot() ||
    (findCommand("sudo") !== null && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0);
}

/**
 * Installs what is missing with apt.
 *
 * @throws Error with apt's words where it fails
 */
export async function installMissing(
  missing: readonly Missing[],
  log: (line: string) => void,
): Promise<void> {
  const run = async (...words: string[]) => {
    const [command = "apt-get", ...args] = isRoot() ? words : ["sudo", "-n", ...words];
    log(`$ ${[command, ...args].join(" ")}`);
    await runToEnd({ command, args });
  };
  await run("apt-get", "update");
  await run(
    ...["env", "DEBIAN_FRONTEND=noninteractive"],
    ...["apt-get", "install", "-y", "--no-install-recommends", ...aptPackages(missing)],
  );
}

function aptPackages(missing: readonly Missing[]): string[] {
  return missing.map((one) => {
    if (one === "maven") return "maven";
    const names = JAVA_VERSIONS.map((version) => `openjdk-${version}-jre-headless`);
    // Exits with 100 for a package that this release does not have.
    return names.find((name) => spawnSync("apt-cache", ["show", name], { stdio: "ignore" }).status === 0) ??
      `openjdk-${JAVA_VERSIONS[0]}-jre-headless`;
  });
}
