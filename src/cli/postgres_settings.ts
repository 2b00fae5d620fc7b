/** How PostgreSQL is reached, from flags and variables. */
import { PgsyncError } from "../errors/error.ts";
import type { PostgresOptions, SslMode } from "../postgres/options.ts";
import type { Flags } from "./flags.ts";
import { choice, type Given, given, percentDecoded, textOf, wholeNumber } from "./values.ts";
import type { Environment } from "./variables.ts";

/** libpq's values, in the order of growing care. */
export const SSL_MODES: readonly SslMode[] = [
  "disable",
  "allow",
  "prefer",
  "require",
  "verify-ca",
  "verify-full",
];

/** What a PostgreSQL URL says; null where it says nothing. */
export interface PostgresUrl {
  readonly host: string | null;
  readonly port: string | null;
  readonly user: string | null;
  readonly password: string | null;
  readonly sslmode: string | null;
  readonly sslrootcert: string | null;
  /** `channel_binding=require`; it stands among the unused ones, too. */
  readonly demandsChannelBinding: boolean;
  /** Run-time settings of the parameter `options`, by lower-case name (`-c TimeZone=UTC`). */
  readonly settings: ReadonlyMap<string, string>;
  /** Parameters that mean nothing here. */
  readonly unused: readonly string[];
}

interface Demand {
  readonly why: string;
  readonly remedy: string;
}

const CLIENT_CERTIFICATE: Demand = {
  why: "client certificates are not in this version",
  remedy: "Log in with a password.",
};
const REVOKED: Demand = {
  why: "lists of revoked certificates are not in this version",
  remedy: "Leave it out.",
};

/** Parameters of libpq that demand more of the connection than is in this version; to pass over them would weaken it unseen. */
const DEMANDS: ReadonlyMap<string, Demand> = new Map([
  ["sslcert", CLIENT_CERTIFICATE],
  ["sslkey", CLIENT_CERTIFICATE],
  ["sslcertmode=require", CLIENT_CERTIFICATE],
  ["sslcrl", REVOKED],
  ["sslcrldir", REVOKED],
  ["ssl_min_protocol_version", { why: "the least is always TLS 1.2", remedy: "Leave it out." }],
  ["require_auth", {
    why: "the server chooses how to log in",
    remedy: "Leave it out, and use sslmode=verify-full, so that it is the server who chooses.",
  }],
  ["requirepeer", { why: "nobody looks at the user of the server's process", remedy: "Leave it out." }],
  ["gssencmode=require", { why: "GSSAPI is not in this version", remedy: "Use TLS: sslmode=verify-full." }],
]);

/**
 * Lenient about a password that should have been percent-encoded, as PGSync's reader of URLs is: it may hold `@`,
 * and ends where a host can follow.
 */
const URL_PATTERN =
  /^([a-z][a-z0-9]*)(?:\+\w+)?:\/\/(?:([^:@/?#]*)(?::(.*?))?@)?(\[[^\]]*\]|[^:/?#@]*)(?::(\d*))?(?:\/([^?#]*))?(?:\?(.*))?$/i;

/**
 * Reads `postgresql://user:password@host:port/database?sslmode=…`. The database is not read: each document of the
 * schema file names its own.
 *
 * @throws PgsyncError USAGE; the message does not repeat the URL, for it holds a password
 */
export function parsePostgresUrl({ where, value }: Given): PostgresUrl {
  const [, scheme = "", user, password, host = "", port, path = "", query = ""] =
    URL_PATTERN.exec(value.trim()) ?? [];
  if (/mysql|maria/i.test(scheme)) {
    throw new PgsyncError("USAGE", `${where} names MySQL or MariaDB, which this version does not read.`);
  }
  // With an @ behind it, the host is most likely a part of a password that holds a slash or a question mark, and would be told in messages.
  const isCut = `${path}${query}`.includes("@");
  if (!/^postgres(ql)?$/i.test(scheme) || host.includes(",") || isCut) {
    throw new PgsyncError("USAGE", `${where} is not a URL of one PostgreSQL server.`, {
      remedy:
        "Write it as postgresql://user:password@host:port/database?sslmode=require, with one host and " +
        "special characters of the password percent-encoded.",
    });
  }
  const parameters = new URLSearchParams(query);
  const parameter = (name: string) => {
    const found = parameters.get(name);
    parameters.delete(name);
    return found === "" ? null : found;
  };
  for (const [name, value] of parameters) {
    const demand = DEMANDS.get(name) ?? DEMANDS.get(`${name}=${value}`);
    if (demand !== undefined && value !== "") {
      const { why, remedy } = demand;
      throw new PgsyncError("USAGE", `${where} has the parameter ${name}: ${why}.`, { remedy });
    }
  }
  // As libpq takes JDBC's.
  const ssl = parameter("ssl") === "true" ? "require" : null;
  return {
    host: parameter("host") ?? nonEmpty(percentDecoded(host.replace(/^\[(.*)\]$/, "$1"))),
    port: parameter("port") ?? nonEmpty(port),
    user: parameter("user") ?? nonEmpty(percentDecoded(user ?? "")),
    password: parameter("password") ?? nonEmpty(percentDecoded(password ?? "")),
    sslmode: parameter("sslmode") ?? ssl,
    sslrootcert: parameter("sslrootcert"),
    demandsChannelBinding: parameters.get("channel_binding") === "require",
    settings: parseServerSettings(parameter("options") ?? ""),
    unused: [...parameters.keys()],
  };
}

/** Reads libpq's `options`: `-c name=value` and `--name=value`; a backslash keeps a blank. Names become lower case. */
export function parseServerSettings(options: string): Map<string, string> {
  const settings = new Map<string, string>();
  for (const [, name = "", value = ""] of options.matchAll(/(?:-c\s*|--)([\w.-]+)=((?:\\.|\S)*)/g)) {
    settings.set(name.toLowerCase().replaceAll("-", "_"), value.replace(/\\(.)/g, "$1"));
  }
  return settings;
}

/**
 * Flags win over PG_URL, PG_URL over its parts; what the URL leaves out is taken from the parts.
 *
 * @param password what was typed at the prompt of `--password`, or null
 * @param notes receives a sentence for each thing that has no effect
 * @param warnings receives one where that makes the connection less safe
 * @throws PgsyncError USAGE
 */
export function postgresOptions(
  flags: Flags,
  environment: Environment,
  password: string | null,
  notes: string[],
  warnings: string[],
): PostgresOptions {
  const urlGiven = given(environment, "PG_URL");
  const url = urlGiven === null ? null : parsePostgresUrl(urlGiven);
  const inUrl = (what: string, value: string | null | undefined): Given | null =>
    value === null || value === undefined ? null : { where: `PG_URL (${what})`, value };

  const user = flags.user ?? url?.user ?? textOf(environment, "PG_USER");
  if (user === null) {
    throw new PgsyncError("USAGE", "No PostgreSQL user is named.", {
      remedy: "Set PG_URL or PG_USER, or use --user.",
    });
  }
  const port = given({}, [], { name: "--port", value: flags.port }) ?? inUrl("port", url?.port) ??
    given(environment, "PG_PORT");
  const sslmode = given({}, [], { name: "--sslmode", value: flags.sslmode }) ??
    inUrl("sslmode", url?.sslmode) ??
    given(environment, ["PG_SSLMODE", "PGSSLMODE"]);
  const sslrootcert = flags.sslrootcert ?? url?.sslrootcert ??
    given(environment, ["PG_SSLROOTCERT", "PGSSLROOTCERT"])?.value ?? null;

  const settings = new Map(url?.settings);
  const setting = (name: string) => {
    const value = settings.get(name) ?? null;
    settings.delete(name);
    return value;
  };
  const timeZone = flags.timeZone ?? textOf(environment, "PGSYNC_TIME_ZONE") ?? setting("timezone") ?? "UTC";
  const workMem = textOf(environment, "PG_WORK_MEM") ?? setting("work_mem");
  settings.delete("timezone");
  settings.delete("work_mem");
  for (const name of settings.keys()) notes.push(`PG_URL: the setting ${name} of options is not used`);
  for (const name of url?.unused ?? []) notes.push(`PG_URL: the parameter ${name} is not used`);
  const tls = tlsSettings(sslmode, sslrootcert, "prefer");
  if (url !== null) warnings.push(...channelBindingWarnings("PG_URL", url, tls.sslmode));

  return {
    host: flags.host ?? url?.host ?? textOf(environment, "PG_HOST") ?? "localhost",
    port: port === null ? 5432 : wholeNumber(port, 1, 65_535),
    user,
    password: password ?? url?.password ?? textOf(environment, "PG_PASSWORD"),
    ...tls,
    timeZone,
    workMem,
  };
}

/**
 * The mode and the authorities, as far as they go together: as in libpq, `system` (authorities that sign for everybody) makes verify-full the
 * default and goes with no other mode; nor does verify-ca, which looks at no name, do with authorities that nobody has named.
 *
 * @param otherwise the mode where none is given
 * @throws PgsyncError USAGE
 */
export function tlsSettings(
  given: Given | null,
  sslrootcert: string | null,
  otherwise: SslMode,
): { readonly sslmode: SslMode; readonly sslrootcert: string | null } {
  if (given === null) return { sslmode: sslrootcert === "system" ? "verify-full" : otherwise, sslrootcert };
  const sslmode = choice(given, SSL_MODES);
  if (sslrootcert === "system" && sslmode !== "verify-full") {
    throw new PgsyncError(
      "USAGE",
      `${given.where} is ${sslmode}, but with the authorities of the system (sslrootcert=system) it must be verify-full.`,
      {
        remedy: "Use verify-full, or name the file of the server's authorities (PG_SSLROOTCERT).",
      },
    );
  }
  if (sslmode === "verify-ca" && sslrootcert === null) {
    throw new PgsyncError(
      "USAGE",
      `${given.where} is verify-ca, which looks at no name, but no authorities are named.`,
      { remedy: "Name the file of the server's authorities (PG_SSLROOTCERT), or use verify-full." },
    );
  }
  return { sslmode, sslrootcert };
}

/** Whether somebody on the way could take the server's place, although the URL asks for what would keep him from it. */
export function channelBindingWarnings(where: string, url: PostgresUrl, sslmode: SslMode): string[] {
  if (!url.demandsChannelBinding || sslmode === "verify-full") return [];
  return [
    `${where}: channel_binding=require is not in this version, so anybody on the way can take the server's place: ` +
    "use sslmode=verify-full",
  ];
}

function nonEmpty(text: string | undefined): string | null {
  return text === undefined || text === "" ? null : text;
}
