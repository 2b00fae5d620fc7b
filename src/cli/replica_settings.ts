/** How the standby is reached that documents are read from, from flags and variables. */
import type { PostgresOptions } from "../postgres/options.ts";
import type { Flags } from "./flags.ts";
import { channelBindingWarnings, parsePostgresUrl, tlsSettings } from "./postgres_settings.ts";
import { type Given, given, textOf, wholeNumber } from "./values.ts";
import { type Environment, REPLICA_VARIABLES } from "./variables.ts";

/**
 * Flags win over PG_URL_RO, PG_URL_RO over its parts; what neither says is as the primary's, for a standby has the same
 * roles and passwords. How values print is always as the primary's.
 *
 * @param notes receives a sentence for each thing that has no effect
 * @param warnings receives one where that makes the connection less safe
 * @returns null where nothing speaks of a replica
 * @throws PgsyncError USAGE
 */
export function replicaOptions(
  flags: Flags,
  environment: Environment,
  primary: PostgresOptions,
  notes: string[],
  warnings: string[],
): PostgresOptions | null {
  const named = flags.replicaHost !== undefined || flags.replicaPort !== undefined;
  if (!named && given(environment, REPLICA_VARIABLES) === null) return null;
  const urlGiven = given(environment, "PG_URL_RO");
  const url = urlGiven === null ? null : parsePostgresUrl(urlGiven);
  const inUrl = (what: string, value: string | null | undefined): Given | null =>
    value === null || value === undefined ? null : { where: `PG_URL_RO (${what})`, value };

  const port = given({}, [], { name: "--replica-port", value: flags.replicaPort }) ??
    inUrl("port", url?.port) ?? given(environment, "PG_PORT_RO");
  const sslmode = inUrl("sslmode", url?.sslmode) ?? given(environment, "PG_SSLMODE_RO");
  const sslrootcert = url?.sslrootcert ?? textOf(environment, "PG_SSLROOTCERT_RO") ??
    (sslmode?.value === "disable" ? null : primary.sslrootcert);
  const user = url?.user ?? textOf(environment, "PG_USER_RO") ?? primary.user;
  for (const name of url?.settings.keys() ?? []) {
    if (name !== "work_mem") notes.push(`PG_URL_RO: the setting ${name} of options is not used`);
  }
  for (const name of url?.unused ?? []) notes.push(`PG_URL_RO: the parameter ${name} is not used`);
  const tls = tlsSettings(sslmode, sslrootcert, primary.sslmode);
  if (url !== null) warnings.push(...channelBindingWarnings("PG_URL_RO", url, tls.sslmode));

  return {
    host: flags.replicaHost ?? url?.host ?? textOf(environment, "PG_HOST_RO") ?? primary.host,
    port: port === null ? primary.port : wholeNumber(port, 1, 65_535),
    user,
    password: url?.password ?? textOf(environment, "PG_PASSWORD_RO") ??
      (user === primary.user ? primary.password : null),
    ...tls,
    timeZone: primary.timeZone,
    workMem: url?.settings.get("work_mem") ?? primary.workMem,
  };
}
