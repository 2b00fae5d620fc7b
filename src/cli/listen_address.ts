import { PgsyncError } from "../errors/error.ts";
import type { Flags } from "./flags.ts";
import { given } from "./values.ts";
import type { Environment } from "./variables.ts";

/** Where the status server listens. */
export interface ListenAddress {
  readonly hostname: string;
  /** 0: any free port. */
  readonly port: number;
}

/** Where it listens when nothing is said. */
const DEFAULT_LISTEN = "127.0.0.1:9399";

/** What was asked for: an address, or null for no server. */
export interface ListenSetting {
  readonly address: ListenAddress | null;
  /** False where it is only the default. */
  readonly explicit: boolean;
}

/** `--listen` before PGSYNC_LISTEN before the default. @throws PgsyncError USAGE */
export function listenSetting(flags: Flags, environment: Environment): ListenSetting {
  const text = given(environment, "PGSYNC_LISTEN", { name: "--listen", value: flags.listen });
  return {
    address: parseListen(text?.value ?? DEFAULT_LISTEN, text?.where ?? "--listen"),
    explicit: text !== null,
  };
}

/**
 * Reads `host:port`, `[::1]:port`, `:port` (all addresses), a port alone, or `off`.
 *
 * @throws PgsyncError USAGE
 */
export function parseListen(text: string, where: string): ListenAddress | null {
  if (text.trim().toLowerCase() === "off") return null;
  const match = /^(?:(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\s/]*)):)?(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new PgsyncError("USAGE", `${where} must be host:port or off, but is "${text}".`);
  }
  const host = match[1] ?? match[2];
  return { hostname: host === undefined ? "127.0.0.1" : host === "" ? "0.0.0.0" : host, port };
}

/** The URL under which a server on this address is reached from the same machine. */
export function localUrl({ hostname, port }: ListenAddress): string {
  const reached = hostname === "0.0.0.0" ? "127.0.0.1" : hostname === "::" ? "::1" : hostname;
  return `http://${reached.includes(":") ? `[${reached}]` : reached}:${port}`;
}
