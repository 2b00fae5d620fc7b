/** What the codes of Node's net and dns modules, and those of postgres.js, mean to an operator. */
const NETWORK_ERRORS: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "the connection was refused"],
  ["ECONNRESET", "the connection was cut"],
  ["ECONNABORTED", "the connection was cut"],
  ["EPIPE", "the connection was cut"],
  ["ETIMEDOUT", "it did not answer in time"],
  ["EHOSTUNREACH", "there is no route to the host"],
  ["ENETUNREACH", "there is no route to the network"],
  ["EHOSTDOWN", "the host is down"],
  ["ENETDOWN", "the network is down"],
  ["ENOTFOUND", "the host name is not known"],
  ["EAI_AGAIN", "the host name could not be resolved"],
  ["EAI_FAIL", "the host name could not be resolved"],
  ["ENOENT", "there is no such socket"],
  ["EACCES", "the socket may not be used"],
  ["CONNECTION_CLOSED", "the connection was closed"],
  ["CONNECTION_DESTROYED", "the connection was closed"],
  ["CONNECTION_ENDED", "the connection was closed"],
  ["CONNECT_TIMEOUT", "it did not answer in time"],
]);

/** The `code` of what was thrown; null where it has none. */
export function errorCode(thrown: unknown): string | null {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return null;
  return typeof thrown.code === "string" ? thrown.code : null;
}

/** Why the server could not be reached, in words; null where that is not what went wrong. */
export function whyUnreachable(thrown: unknown): string | null {
  return NETWORK_ERRORS.get(errorCode(thrown) ?? "") ?? null;
}
