import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { connect, type ConnectionOptions, type DetailedPeerCertificate, type TLSSocket } from "node:tls";

/**
 * The authority that a fingerprint stands for, as PEM. The server shows its certificate, and mostly those that signed it; the one of that
 * fingerprint is then trusted, and nothing else, in all connections: the runtime checks each signature from it down to the server's own.
 *
 * That the fingerprint is among the certificates shown would prove nothing: an authority's certificate is public, and anybody can
 * show it beside a forged one that names it as its issuer. (The client library looks for no more than that.)
 *
 * @param url any node; all have certificates of the same authority
 * @param fingerprint SHA-256 in hexadecimal, with or without colons
 * @param tls a certificate of the client's, where the server wants one
 * @param signal ends it
 * @throws Error where there is no connection, or the server shows no such certificate
 */
export async function pinnedAuthority(
  url: URL,
  fingerprint: string,
  tls: ConnectionOptions,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<string> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const socket = connect({
    ...tls,
    host,
    port: url.port === "" ? 443 : Number(url.port),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    // Nothing is sent but the handshake.
    rejectUnauthorized: false,
  });
  const abort = () => socket.destroy(new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await secured(socket, timeoutMs);
    const wanted = fingerprint.replaceAll(":", "").toLowerCase();
    for (const certificate of shownBy(socket)) {
      if (createHash("sha256").update(certificate).digest("hex") === wanted) return toPem(certificate);
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    socket.destroy();
  }
  throw new Error(
    "the server shows no certificate of that fingerprint (ELASTICSEARCH_SSL_ASSERT_FINGERPRINT)",
  );
}

function secured(socket: TLSSocket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      clearTimeout(limit);
      reject(error);
    };
    const limit = setTimeout(fail, timeoutMs, new Error(`no handshake within ${timeoutMs / 1000} s`));
    // Stays until the end: a late second error must not bring the process down.
    socket.on("error", fail);
    socket.once("close", () => fail(new Error("the connection was closed in the handshake")));
    socket.once("secureConnect", () => {
      clearTimeout(limit);
      resolve();
    });
  });
}

/** The certificates that the server has shown, its own first, as DER. */
function shownBy(socket: TLSSocket): Buffer[] {
  const shown: Buffer[] = [];
  // Empty where there is none; a self-signed one is its own issuer.
  let certificate: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined) {
    const { raw } = certificate;
    if (shown.some((known) => known.equals(raw))) break;
    // Deno gives plain bytes.
    shown.push(Buffer.from(raw));
    certificate = certificate.issuerCertificate;
  }
  return shown;
}

function toPem(certificate: Buffer): string {
  const lines = certificate.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
