import assert from "node:assert/strict";
import { test } from "node:test";
import type { Flags } from "../../src/cli/flags.ts";
import { parseServerSettings, postgresOptions } from "../../src/cli/postgres_settings.ts";
import type { Environment } from "../../src/cli/variables.ts";
import { failsWithUsage } from "./fails.ts";

const DEFAULTS = {
  host: "localhost",
  port: 5432,
  user: "me",
  password: null,
  sslmode: "prefer",
  sslrootcert: null,
  timeZone: "UTC",
  workMem: null,
};

function options(environment: Environment, flags: Flags = {}, password: string | null = null) {
  return postgresOptions(flags, environment, password, [], []);
}

test("a user is enough; the rest has defaults", () => {
  assert.deepEqual(options({ PG_USER: "me" }), DEFAULTS);
});

test("without a user there is nobody to log in", () => {
  failsWithUsage(/No PostgreSQL user.*\n.*PG_URL or PG_USER/s, () => options({}));
  failsWithUsage(/No PostgreSQL user/, () => options({ PG_USER: "" }));
});

test("the parts", () => {
  const environment = {
    PG_HOST: "db",
    PG_PORT: "6432",
    PG_USER: "me",
    PG_PASSWORD: "p@ss",
    PG_SSLMODE: "verify-full",
    PG_SSLROOTCERT: "/ca.pem",
    PG_WORK_MEM: "64MB",
    PGSYNC_TIME_ZONE: "Europe/Berlin",
  };
  assert.deepEqual(options(environment), {
    host: "db",
    port: 6432,
    user: "me",
    password: "p@ss",
    sslmode: "verify-full",
    sslrootcert: "/ca.pem",
    workMem: "64MB",
    timeZone: "Europe/Berlin",
  });
});

const URLS: Record<string, Partial<ReturnType<typeof options>>> = {
  "postgresql://me:pw@db:6432/shop": { host: "db", port: 6432, user: "me", password: "pw" },
  "postgres://me@db": { host: "db", user: "me" },
  "postgresql+psycopg2://me:pw@db/shop?sslmode=require": { host: "db", password: "pw", sslmode: "require" },
  "postgresql://me:a%40b%2Fc@db/shop": { host: "db", password: "a@b/c" },
  "postgresql://me:a@b#c@db:5/shop": { host: "db", port: 5, password: "a@b#c" },
  "postgresql://me:100%@db": { host: "db", password: "100%" },
  "postgresql://me@[::1]:6432/shop": { host: "::1", port: 6432 },
  "postgresql:///shop?host=/run/postgresql&user=me": { host: "/run/postgresql" },
  "postgresql://me@%2Frun%2Fpostgresql/shop": { host: "/run/postgresql" },
  "postgresql://me@db/shop?ssl=true": { host: "db", sslmode: "require" },
  "postgresql://me@db/shop?ssl=true&sslmode=verify-full": { host: "db", sslmode: "verify-full" },
  "postgresql://me@db/shop?sslrootcert=system": {
    host: "db",
    sslmode: "verify-full",
    sslrootcert: "system",
  },
  "postgresql://me@db/shop?sslmode=verify-ca&sslrootcert=/ca.pem": {
    host: "db",
    sslmode: "verify-ca",
    sslrootcert: "/ca.pem",
  },
  "postgresql://me@db/shop?options=-c%20TimeZone%3DEurope/Paris%20-c%20work_mem%3D1GB": {
    host: "db",
    timeZone: "Europe/Paris",
    workMem: "1GB",
  },
};
for (const [url, expected] of Object.entries(URLS)) {
  test(`PG_URL=${url}`, () => {
    assert.deepEqual(options({ PG_URL: url }), { ...DEFAULTS, ...expected });
  });
}

test("PG_URL wins over its parts, which fill what it leaves out; flags win over both", () => {
  const environment = {
    PG_URL: "postgresql://me@db:1/shop",
    PG_HOST: "other",
    PG_PORT: "2",
    PG_PASSWORD: "pw",
  };
  assert.deepEqual(options(environment), { ...DEFAULTS, host: "db", port: 1, password: "pw" });
  assert.deepEqual(
    options(environment, { host: "flag", port: "3", user: "you", sslmode: "disable" }, "typed"),
    { ...DEFAULTS, host: "flag", port: 3, user: "you", sslmode: "disable", password: "typed" },
  );
});

test("libpq's own variables for TLS hold where ours say nothing, as they do in PGSync", () => {
  const environment = { PG_USER: "me", PGSSLMODE: "verify-full", PGSSLROOTCERT: "/ca.pem" };
  assert.deepEqual(options(environment), { ...DEFAULTS, sslmode: "verify-full", sslrootcert: "/ca.pem" });
  assert.equal(options({ ...environment, PG_SSLMODE: "require" }).sslmode, "require");
  assert.equal(options({ ...environment, PG_SSLROOTCERT: "/other.pem" }).sslrootcert, "/other.pem");
});

test("what is no URL of one PostgreSQL server is refused, and the password not repeated", () => {
  for (const url of ["secret", "http://me:secret@db/shop", "postgresql://me:secret@a:1,b:2/shop"]) {
    failsWithUsage(
      /PG_URL is not a URL of one PostgreSQL server.*\n.*postgresql:\/\/user/s,
      () => options({ PG_URL: url }),
    );
  }
  // Of a password with a slash or question mark, what comes before it would be told as the host, what comes after it as a parameter.
  for (const url of ["postgresql://me:pw@secret/x@db/shop", "postgresql://me:pw@secret?x@db/shop"]) {
    failsWithUsage(/percent-encoded/, () => options({ PG_URL: url }));
  }
  failsWithUsage(/MySQL or MariaDB/, () => options({ PG_URL: "mysql+pymysql://me:secret@db/shop" }));
});

const DEMANDS: Record<string, RegExp> = {
  "sslcert=a.pem": /sslcert: client certificates/,
  "sslcertmode=require": /sslcertmode: client certificates/,
  "sslcrl=a.pem": /sslcrl: lists of revoked/,
  "sslcrldir=/crl": /sslcrldir: lists of revoked/,
  "ssl_min_protocol_version=TLSv1.3": /ssl_min_protocol_version: the least is always TLS 1\.2/,
  "require_auth=scram-sha-256": /require_auth: the server chooses/,
  "requirepeer=postgres": /requirepeer: nobody looks/,
  "gssencmode=require": /gssencmode: GSSAPI/,
};
for (const [parameter, words] of Object.entries(DEMANDS)) {
  test(`what PG_URL demands is not passed over: ${parameter}`, () => {
    failsWithUsage(words, () => options({ PG_URL: `postgresql://me@db?${parameter}` }));
  });
}

test("what demands nothing passes: gssencmode=prefer, sslcertmode=allow, a parameter without a value", () => {
  const url = "postgresql://me@db?gssencmode=prefer&sslcertmode=allow&sslcrl=";
  assert.equal(options({ PG_URL: url }).host, "db");
});

test("channel_binding=require is warned of, unless the server proves who it is", () => {
  const warnings = (query: string) => {
    const found: string[] = [];
    postgresOptions({}, { PG_URL: `postgresql://me@db?${query}` }, null, [], found);
    return found.join();
  };
  assert.match(
    warnings("sslmode=require&channel_binding=require"),
    /^PG_URL: channel_binding=.*sslmode=verify-full$/,
  );
  assert.equal(warnings("sslmode=verify-full&channel_binding=require"), "");
  assert.equal(warnings("sslmode=require&channel_binding=prefer"), "");
});

test("the system's authorities make verify-full the default, and go with nothing less, as in libpq", () => {
  const system = { PG_USER: "me", PG_SSLROOTCERT: "system" };
  assert.equal(options(system).sslmode, "verify-full");
  assert.equal(options({ ...system, PG_SSLMODE: "verify-full" }).sslmode, "verify-full");
  for (const sslmode of ["disable", "prefer", "require", "verify-ca"]) {
    failsWithUsage(
      new RegExp(`^PG_SSLMODE is ${sslmode}, .* must be verify-full`),
      () => options({ ...system, PG_SSLMODE: sslmode }),
    );
  }
  failsWithUsage(/^--sslmode is require/, () => options(system, { sslmode: "require" }));
});

test("verify-ca, which looks at no name, wants authorities that are named, as in libpq", () => {
  failsWithUsage(
    /^PG_SSLMODE is verify-ca, .*\n.*PG_SSLROOTCERT/,
    () => options({ PG_USER: "me", PG_SSLMODE: "verify-ca" }),
  );
});

test("values that are not allowed are named with where they stand", () => {
  failsWithUsage(
    /^PG_PORT must be a whole number from 1 to 65535, but is "fünf"/,
    () => options({ PG_USER: "me", PG_PORT: "fünf" }),
  );
  failsWithUsage(/^--port must be .* but is "0"/, () => options({ PG_USER: "me" }, { port: "0" }));
  failsWithUsage(
    /^PG_URL \(sslmode\) must be one of disable, allow,/,
    () => options({ PG_URL: "postgresql://me@db?sslmode=yes" }),
  );
});

test("parameters of PG_URL that have no effect are named", () => {
  const notes: string[] = [];
  const url = "postgresql://me@db/shop?application_name=x&options=-c%20statement_timeout%3D5";
  postgresOptions({}, { PG_URL: url }, null, notes, []);
  assert.deepEqual(notes, [
    "PG_URL: the setting statement_timeout of options is not used",
    "PG_URL: the parameter application_name is not used",
  ]);
});

test("libpq's options: -c and --, an escaped blank", () => {
  assert.deepEqual(
    [...parseServerSettings("-c geqo=off -cTimeZone=UTC --work-mem=4MB -c search_path=a\\ b")],
    [["geqo", "off"], ["timezone", "UTC"], ["work_mem", "4MB"], ["search_path", "a b"]],
  );
});
