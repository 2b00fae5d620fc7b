/** Certificates of a test, made by openssl in a temporary folder. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

/** A certificate and its key, as PEM files. */
export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly certificate: string;
  readonly key: string;
  /** SHA-256, in hexadecimal with colons. */
  readonly fingerprint: string;
}

/** A certificate authority. */
export interface Authority extends Certificate {
  /**
   * Signs a certificate for a server, or for a client.
   *
   * @param name its common name, and the user's where it is a client's
   * @param hosts as openssl's subjectAltName: `DNS:localhost,IP:127.0.0.1`
   */
  sign(name: string, hosts?: string): Certificate;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Makes an authority; its files are removed at the end of the test file. Two of one name have different keys. */
export function makeAuthority(name = "test CA"): Authority {
  const folder = temporaryFolder("certificates");
  after(() => removeFolder(folder));
  const file = (of: string) => join(folder, of);
  const openssl = (...args: readonly string[]) =>
    execFileSync("openssl", args, { cwd: folder, encoding: "utf8", stdio: "pipe" });
  const made = (base: string): Certificate => ({
    certificateFile: file(`${base}.crt`),
    keyFile: file(`${base}.key`),
    certificate: readFileSync(file(`${base}.crt`), "utf8"),
    key: readFileSync(file(`${base}.key`), "utf8"),
    fingerprint:
      openssl("x509", "-in", `${base}.crt`, "-noout", "-fingerprint", "-sha256").trim().split("=")[1] ?? "",
  });
  openssl(
    "req",
    "-x509",
    ...KEY,
    "-days",
    "2",
    "-subj",
    `/CN=${name}`,
    "-keyout",
    "ca.key",
    "-out",
    "ca.crt",
  );
  let count = 0;
  return {
    ...made("ca"),
    sign(commonName, hosts) {
      const base = `signed${++count}`;
      openssl("req", ...KEY, "-subj", `/CN=${commonName}`, "-keyout", `${base}.key`, "-out", `${base}.csr`);
      const extensions = [
        "authorityKeyIdentifier=keyid",
        ...hosts === undefined ? [] : [`subjectAltName=${hosts}`],
      ];
      writeFileSync(file(`${base}.ext`), `${extensions.join("\n")}\n`);
      const authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"];
      openssl(
        "x509",
        "-req",
        "-in",
        `${base}.csr`,
        ...authority,
        "-days",
        "2",
        "-extfile",
        `${base}.ext`,
        "-out",
        `${base}.crt`,
      );
      return made(base);
    },
  };
}
