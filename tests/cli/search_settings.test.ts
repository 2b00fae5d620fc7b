import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { searchOptions } from "../../src/cli/search_settings.ts";
import type { SearchLogin, SearchOptions } from "../../src/search/options.ts";
import { failsWithUsage } from "./fails.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");

const DEFAULTS: SearchOptions = {
  urls: ["http://localhost:9200"],
  login: { kind: "none" },
  verifyCertificates: true,
  caCertificate: null,
  caFingerprint: null,
  clientCertificate: null,
  clientKey: null,
  opaqueId: null,
  compress: false,
  timeoutSeconds: 60,
};

test("without variables: this machine, port 9200, no login", () => {
  assert.deepEqual(searchOptions({}), DEFAULTS);
});

test("the parts", () => {
  assert.deepEqual(
    searchOptions({
      ELASTICSEARCH_SCHEME: "https",
      ELASTICSEARCH_HOST: "es",
      ELASTICSEARCH_PORT: "9243",
      ELASTICSEARCH_USER: "me",
      ELASTICSEARCH_PASSWORD: "p:@/",
    }),
    {
      ...DEFAULTS,
      urls: ["https://es:9243"],
      login: { kind: "basic", user: "me", password: "p:@/" },
      compress: true, // not this machine
    },
  );
  assert.deepEqual(searchOptions({ ELASTICSEARCH_USE_SSL: "true", ELASTICSEARCH_HOST: "::1" }).urls, [
    "https://[::1]:9200",
  ]);
});

test("ELASTICSEARCH_URL: blanks do not count, user and password are taken out, several hosts by commas", () => {
  const options = searchOptions({
    ELASTICSEARCH_URL: " https://me:p%40ss@a:9200/es/ , https://b\n",
    ELASTICSEARCH_HOST: "other",
  });
  assert.deepEqual(options.urls, ["https://a:9200/es", "https://b"]);
  assert.deepEqual(options.login, { kind: "basic", user: "me", password: "p@ss" });
});

const LOGINS: [string, Record<string, string>, SearchLogin][] = [
  ["an API key and its id", { ELASTICSEARCH_API_KEY: "key", ELASTICSEARCH_API_KEY_ID: "id" }, {
    kind: "api-key",
    key: base64("id:key"),
  }],
  ["an encoded API key", { ELASTICSEARCH_API_KEY: base64("id:key") }, {
    kind: "api-key",
    key: base64("id:key"),
  }],
  ["id:key in one", { ELASTICSEARCH_API_KEY: "id:key" }, { kind: "api-key", key: base64("id:key") }],
  ["a token", { ELASTICSEARCH_BEARER_AUTH: "t" }, { kind: "bearer", token: "t" }],
  ["user:password", { ELASTICSEARCH_BASIC_AUTH: "me:a:b" }, { kind: "basic", user: "me", password: "a:b" }],
  ["the header's form", { ELASTICSEARCH_BASIC_AUTH: base64("me:pw") }, {
    kind: "basic",
    user: "me",
    password: "pw",
  }],
  ["user,password", { ELASTICSEARCH_HTTP_AUTH: "me,pw" }, { kind: "basic", user: "me", password: "pw" }],
  ["a password with a stray %", { ELASTICSEARCH_URL: "http://u:50%@h" }, {
    kind: "basic",
    user: "u",
    password: "50%",
  }],
  ["a key before the URL's user", { ELASTICSEARCH_URL: "http://u:p@h", ELASTICSEARCH_BEARER_AUTH: "t" }, {
    kind: "bearer",
    token: "t",
  }],
];
for (const [name, environment, login] of LOGINS) {
  test(`login by ${name}`, () => assert.deepEqual(searchOptions(environment).login, login));
}

test("two logins, or two addresses, are one too many", () => {
  failsWithUsage(
    /ELASTICSEARCH_API_KEY and ELASTICSEARCH_BASIC_AUTH are set/,
    () => searchOptions({ ELASTICSEARCH_API_KEY: "secret", ELASTICSEARCH_BASIC_AUTH: "u:secret" }),
  );
  for (const name of ["ELASTICSEARCH_API_KEY", "ELASTICSEARCH_BEARER_AUTH"]) {
    failsWithUsage(/line breaks/, () => searchOptions({ [name]: "secret\n" }));
  }
  failsWithUsage(
    /both set/,
    () => searchOptions({ ELASTICSEARCH_URL: "http://h", ELASTICSEARCH_CLOUD_ID: "x" }),
  );
});

test("a cloud id names the host", () => {
  const cloudId = `my:deployment:${base64("eu-west-1.aws.found.io:9243$abc123$def")}`;
  assert.deepEqual(searchOptions({ ELASTICSEARCH_CLOUD_ID: cloudId }).urls, [
    "https://abc123.eu-west-1.aws.found.io:9243",
  ]);
  failsWithUsage(/no cloud id/, () => searchOptions({ ELASTICSEARCH_CLOUD_ID: "secret" }));
});

test("what serves TLS alone is refused without TLS", () => {
  for (
    const name of [
      "ELASTICSEARCH_SSL_ASSERT_FINGERPRINT",
      "ELASTICSEARCH_CA_CERTS",
      "ELASTICSEARCH_CLIENT_CERT",
      "ELASTICSEARCH_CLIENT_KEY",
    ]
  ) {
    failsWithUsage(
      new RegExp(`^${name} is set, .* without TLS.*\n.*https://`),
      () => searchOptions({ ELASTICSEARCH_URL: "http://a,http://b", [name]: "x" }),
    );
    searchOptions({ ELASTICSEARCH_URL: "http://a,https://b", [name]: "x" });
  }
});

test("TLS, time, compression", () => {
  assert.deepEqual(
    searchOptions({
      ELASTICSEARCH_URL: "https://es",
      ELASTICSEARCH_VERIFY_CERTS: "False",
      ELASTICSEARCH_CA_CERTS: "/ca.pem",
      ELASTICSEARCH_SSL_ASSERT_FINGERPRINT: "AB:CD",
      ELASTICSEARCH_CLIENT_CERT: "/c.pem",
      ELASTICSEARCH_CLIENT_KEY: "/k.pem",
      ELASTICSEARCH_OPAQUE_ID: "pgsync",
      ELASTICSEARCH_HTTP_COMPRESS: "no",
      ELASTICSEARCH_TIMEOUT: "10",
    }),
    {
      urls: ["https://es"],
      login: { kind: "none" },
      verifyCertificates: false,
      caCertificate: "/ca.pem",
      caFingerprint: "AB:CD",
      clientCertificate: "/c.pem",
      clientKey: "/k.pem",
      opaqueId: "pgsync",
      compress: false,
      timeoutSeconds: 10,
    },
  );
});

test("what is no http(s) URL is refused, and the password not repeated", () => {
  // In the last two it would be taken for a path, and a part of it for host and port.
  for (
    const url of [
      ...["es:9200", "ftp://me:secret@es", "http://me:sec#ret@es:92000"],
      ...["http://me:99/secret@es", "http://me:99?secret@es"],
    ]
  ) {
    failsWithUsage(
      /ELASTICSEARCH_URL holds no http\(s\) URL.*\n.*percent-encoded/s,
      () => searchOptions({ ELASTICSEARCH_URL: url }),
    );
  }
  failsWithUsage(
    /must be true or false, but is "maybe"/,
    () => searchOptions({ ELASTICSEARCH_VERIFY_CERTS: "maybe" }),
  );
});
