/** How the search engine is reached, from variables. */
import { Buffer } from "node:buffer";
import { PgsyncError } from "../errors/error.ts";
import type { SearchLogin, SearchOptions } from "../search/options.ts";
import { isLoopback } from "./loopback.ts";
import { given, percentDecoded, seconds, textOf, wholeNumber, yesOrNo } from "./values.ts";
import type { Environment } from "./variables.ts";

/** A bulk request of a loaded cluster may well take longer than PGSync's 10 s, and would then be sent again. */
const DEFAULT_TIMEOUT_SECONDS = 60;

/** What has no effect without TLS. Whoever sets one of them takes the connection for a safe one. */
const TLS_ONLY = [
  "ELASTICSEARCH_SSL_ASSERT_FINGERPRINT",
  "ELASTICSEARCH_CA_CERTS",
  "ELASTICSEARCH_CLIENT_CERT",
  "ELASTICSEARCH_CLIENT_KEY",
] as const;

/**
 * ELASTICSEARCH_CLOUD_ID or ELASTICSEARCH_URL or its parts, and how to log in.
 *
 * @throws PgsyncError USAGE; messages do not repeat URLs or keys
 */
export function searchOptions(environment: Environment): SearchOptions {
  const address = addressOf(environment);
  const verify = given(environment, "ELASTICSEARCH_VERIFY_CERTS");
  const compress = given(environment, "ELASTICSEARCH_HTTP_COMPRESS");
  const timeout = given(environment, "ELASTICSEARCH_TIMEOUT");
  const forTls = TLS_ONLY.find((name) => textOf(environment, name) !== null);
  if (forTls !== undefined && !address.urls.some((url) => url.startsWith("https:"))) {
    throw new PgsyncError("USAGE", `${forTls} is set, but the search engine is spoken to without TLS.`, {
      remedy:
        `Write its address with https:// (ELASTICSEARCH_URL, or ELASTICSEARCH_SCHEME), or unset ${forTls}.`,
    });
  }
  return {
    urls: address.urls,
    login: explicitLogin(environment) ?? address.login ?? { kind: "none" },
    verifyCertificates: verify === null ? true : yesOrNo(verify),
    caCertificate: textOf(environment, "ELASTICSEARCH_CA_CERTS"),
    caFingerprint: textOf(environment, "ELASTICSEARCH_SSL_ASSERT_FINGERPRINT"),
    clientCertificate: textOf(environment, "ELASTICSEARCH_CLIENT_CERT"),
    clientKey: textOf(environment, "ELASTICSEARCH_CLIENT_KEY"),
    opaqueId: textOf(environment, "ELASTICSEARCH_OPAQUE_ID"),
    // On the same machine compressing costs time and saves nothing.
    compress: compress === null
      ? !address.urls.every((url) => isLoopback(new URL(url).hostname))
      : yesOrNo(compress),
    timeoutSeconds: timeout === null ? DEFAULT_TIMEOUT_SECONDS : seconds(timeout, 3600),
  };
}

interface Address {
  readonly urls: readonly string[];
  /** User and password that stand in the address, or beside it. */
  readonly login: SearchLogin | null;
}

function addressOf(environment: Environment): Address {
  const url = textOf(environment, "ELASTICSEARCH_URL");
  const cloudId = textOf(environment, "ELASTICSEARCH_CLOUD_ID");
  if (url !== null && cloudId !== null) {
    throw new PgsyncError("USAGE", "ELASTICSEARCH_URL and ELASTICSEARCH_CLOUD_ID are both set.", {
      remedy: "Unset one of them.",
    });
  }
  const user = textOf(environment, "ELASTICSEARCH_USER");
  const password = textOf(environment, "ELASTICSEARCH_PASSWORD");
  const beside: SearchLogin | null = user === null ? null : { kind: "basic", user, password: password ?? "" };
  if (cloudId !== null) return { urls: [cloudUrl(cloudId)], login: beside };
  if (url !== null) {
    const parsed = parseSearchUrls(url);
    return { urls: parsed.urls, login: parsed.login ?? beside };
  }
  const secure = given(environment, "ELASTICSEARCH_USE_SSL");
  const scheme = textOf(environment, "ELASTICSEARCH_SCHEME") ??
    (secure !== null && yesOrNo(secure) ? "https" : "http");
  const host = textOf(environment, "ELASTICSEARCH_HOST") ?? "localhost";
  const port = given(environment, "ELASTICSEARCH_PORT");
  const bracketed = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const parts = `${scheme}://${bracketed}:${port === null ? 9200 : wholeNumber(port, 1, 65_535)}`;
  return { urls: [parseSearchUrl(parts, "ELASTICSEARCH_SCHEME, _HOST and _PORT make").href], login: beside };
}

/**
 * Reads ELASTICSEARCH_URL: one base URL or several, separated by commas; blanks do not count. User and password may
 * stand in them, and are taken out.
 *
 * @throws PgsyncError USAGE
 */
function parseSearchUrls(text: string): Address {
  let login: SearchLogin | null = null;
  const urls = text.replace(/\s/g, "").split(/,(?=https?:)/i).map((one) => {
    const url = parseSearchUrl(one, "ELASTICSEARCH_URL holds");
    if (url.user !== "" && login === null) login = { kind: "basic", user: url.user, password: url.password };
    return url.href;
  });
  return { urls, login };
}

function parseSearchUrl(text: string, where: string): { href: string; user: string; password: string } {
  const url = URL.canParse(text) ? new URL(text) : null;
  // With an @ behind it, the host is most likely a part of a password that holds a slash.
  if (
    url === null || !["http:", "https:"].includes(url.protocol) || url.hostname === "" ||
    `${url.pathname}${url.search}${url.hash}`.includes("@")
  ) {
    throw new PgsyncError("USAGE", `${where} no http(s) URL.`, {
      remedy:
        "Write it as https://user:password@host:9200, with special characters of the password percent-encoded.",
    });
  }
  return {
    // the WHATWG parser drops a port that is the scheme's own, which is what is meant
    href: `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}`,
    user: percentDecoded(url.username),
    password: percentDecoded(url.password),
  };
}

/**
 * A cloud id is `<label>:` and the base64 form of `host$elasticsearch$kibana`
 * (https://www.elastic.co/guide/en/cloud/current/ec-cloud-id.html).
 */
function cloudUrl(cloudId: string): string {
  const encoded = cloudId.slice(cloudId.lastIndexOf(":") + 1);
  const [host, elasticsearch] = (base64Decoded(encoded) ?? "").split("$");
  if (host === undefined || host === "" || elasticsearch === undefined || elasticsearch === "") {
    throw new PgsyncError("USAGE", "ELASTICSEARCH_CLOUD_ID holds no cloud id.", {
      remedy: "Copy it from the deployment's page in Elastic Cloud.",
    });
  }
  return parseSearchUrl(`https://${elasticsearch}.${host}`, "ELASTICSEARCH_CLOUD_ID names").href;
}

function explicitLogin(environment: Environment): SearchLogin | null {
  const key = textOf(environment, "ELASTICSEARCH_API_KEY");
  const bearer = textOf(environment, "ELASTICSEARCH_BEARER_AUTH");
  const basic = given(environment, ["ELASTICSEARCH_BASIC_AUTH", "ELASTICSEARCH_HTTP_AUTH"]);
  const all = [
    key === null ? null : "ELASTICSEARCH_API_KEY",
    bearer === null ? null : "ELASTICSEARCH_BEARER_AUTH",
    basic?.where ?? null,
  ].filter((name) => name !== null);
  if (all.length > 1) {
    throw new PgsyncError("USAGE", `${all.join(" and ")} are set, but there is only one login.`, {
      remedy: "Unset all but one of them.",
    });
  }
  if (key !== null) {
    const encoded = encodedApiKey(key, textOf(environment, "ELASTICSEARCH_API_KEY_ID"));
    return { kind: "api-key", key: forHeader("ELASTICSEARCH_API_KEY", encoded) };
  }
  if (bearer !== null) return { kind: "bearer", token: forHeader("ELASTICSEARCH_BEARER_AUTH", bearer) };
  if (basic !== null) return basicLogin(basic.where, basic.value);
  return null;
}

/** @throws PgsyncError USAGE where a header cannot hold it: a line break, most often */
function forHeader(where: string, secret: string): string {
  if (/^[\x21-\x7e]+$/.test(secret)) return secret;
  throw new PgsyncError("USAGE", `${where} holds blanks, line breaks, or other characters that no key has.`);
}

/** The form that the header wants: base64 of `id:key`, which is also what Kibana shows as the "encoded" key. */
function encodedApiKey(key: string, id: string | null): string {
  if (id !== null) return base64Encoded(`${id}:${key}`);
  return key.includes(":") ? base64Encoded(key) : key;
}

/** `user:password`, `user,password`, or either in base64 as the header carries it. */
function basicLogin(where: string, value: string): SearchLogin {
  for (const text of [value, base64Decoded(value)]) {
    const match = /^([^:,]+)[:,](.*)$/s.exec(text ?? "");
    if (match?.[1] !== undefined && match[2] !== undefined) {
      return { kind: "basic", user: match[1], password: match[2] };
    }
  }
  throw new PgsyncError("USAGE", `${where} must be user:password.`);
}

function base64Encoded(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

/** null where it is not base64 of UTF-8 text. */
function base64Decoded(text: string): string | null {
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return null;
  const decoded = Buffer.from(text, "base64").toString("utf8");
  return decoded.includes("\uFFFD") ? null : decoded;
}
