import assert from "node:assert/strict";
import { test } from "node:test";
import type { Flags } from "../../src/cli/flags.ts";
import { replicaOptions } from "../../src/cli/replica_settings.ts";
import { runSettings } from "../../src/cli/run_settings.ts";
import type { Environment } from "../../src/cli/variables.ts";
import type { PostgresOptions } from "../../src/postgres/options.ts";
import { failsWithUsage } from "./fails.ts";

const PRIMARY = {
  host: "db",
  port: 6432,
  user: "me",
  password: "pw",
  sslmode: "require",
  sslrootcert: "/ca.pem",
  timeZone: "Europe/Berlin",
  workMem: "64MB",
} as const;

function replica(environment: Environment, flags: Flags = {}, notes: string[] = []) {
  return replicaOptions(flags, environment, PRIMARY, notes, []);
}

test("nothing that speaks of a replica: none", () => {
  assert.equal(replica({ PG_HOST: "other", PG_DATABASE_RO: "shop", PG_HOST_RO: "" }), null);
});

const SWITCHES: Record<string, [Environment, Partial<Record<keyof typeof PRIMARY, unknown>>]> = {
  "a host": [{ PG_HOST_RO: "standby" }, { host: "standby" }],
  "a port": [{ PG_PORT_RO: "5433" }, { port: 5433 }],
  "a user, whose password is not the primary's": [{ PG_USER_RO: "reader" }, {
    user: "reader",
    password: null,
  }],
  "a password": [{ PG_PASSWORD_RO: "other" }, { password: "other" }],
  "a mode of TLS": [{ PG_SSLMODE_RO: "verify-full" }, { sslmode: "verify-full" }],
  "authorities": [{ PG_SSLROOTCERT_RO: "/other.pem" }, { sslrootcert: "/other.pem" }],
  "the system's authorities": [{ PG_SSLROOTCERT_RO: "system" }, {
    sslmode: "verify-full",
    sslrootcert: "system",
  }],
  "no TLS, and no authorities then": [{ PG_SSLMODE_RO: "disable" }, {
    sslmode: "disable",
    sslrootcert: null,
  }],
  "a URL": [{ PG_URL_RO: "postgresql://standby/other" }, { host: "standby" }],
  "a URL, which wins over its parts": [
    { PG_URL_RO: "postgresql://you:u@standby:1/x?sslmode=disable&sslrootcert=/u.pem", ...parts() },
    { host: "standby", port: 1, user: "you", password: "u", sslmode: "disable", sslrootcert: "/u.pem" },
  ],
  "work_mem of its own": [
    { PG_URL_RO: "postgresql://standby/x?options=-c%20work_mem%3D1GB" },
    { host: "standby", workMem: "1GB" },
  ],
};

function parts(): Environment {
  return {
    PG_HOST_RO: "h",
    PG_PORT_RO: "2",
    PG_USER_RO: "p",
    PG_PASSWORD_RO: "p",
    PG_SSLMODE_RO: "prefer",
    PG_SSLROOTCERT_RO: "/p.pem",
  };
}

for (const [what, [environment, expected]] of Object.entries(SWITCHES)) {
  test(`${what}; the rest is as the primary's`, () => {
    assert.deepEqual(replica(environment), { ...PRIMARY, ...expected });
  });
}

test("flags win, and switch it on", () => {
  assert.deepEqual(
    replica({ PG_URL_RO: "postgresql://standby:1" }, { replicaHost: "flag", replicaPort: "3" }),
    {
      ...PRIMARY,
      host: "flag",
      port: 3,
    },
  );
});

test("how values print is the primary's to say, and parameters without effect are named", () => {
  const notes: string[] = [];
  const url = "postgresql://standby/x?connect_timeout=3&options=-c%20TimeZone%3DUTC";
  assert.equal(replica({ PG_URL_RO: url }, {}, notes)?.timeZone, "Europe/Berlin");
  assert.deepEqual(notes, [
    "PG_URL_RO: the setting timezone of options is not used",
    "PG_URL_RO: the parameter connect_timeout is not used",
  ]);
});

test("mistakes are named with where they stand", () => {
  failsWithUsage(/^--replica-port must be/, () => replica({}, { replicaPort: "x" }));
  failsWithUsage(/^PG_URL_RO \(port\) must be/, () => replica({ PG_URL_RO: "postgresql://h:0/x" }));
  failsWithUsage(/^PG_SSLMODE_RO must be one of/, () => replica({ PG_SSLMODE_RO: "x" }));
  failsWithUsage(/^PG_URL_RO is not a URL of one/, () => replica({ PG_URL_RO: "postgresql://a,b/x" }));
});

test("modes and authorities must go together, whosever they are", () => {
  const from = (changes: Partial<PostgresOptions>, environment: Environment) =>
    replicaOptions({}, environment, { ...PRIMARY, ...changes }, [], []);
  const system = { sslmode: "verify-full", sslrootcert: "system" } as const;
  failsWithUsage(
    /^PG_SSLMODE_RO is require, .* verify-full/,
    () => from(system, { PG_SSLMODE_RO: "require" }),
  );
  failsWithUsage(
    /^PG_URL_RO \(sslmode\) is verify-ca/,
    () => from({ sslrootcert: null }, { PG_URL_RO: "postgresql://h/x?sslmode=verify-ca" }),
  );
  assert.equal(from(system, { PG_HOST_RO: "standby" })?.sslmode, "verify-full");
  assert.equal(from(system, { PG_SSLMODE_RO: "disable" })?.sslmode, "disable");
});

test("channel_binding=require of the replica's URL is warned of", () => {
  const warnings = runSettings({}, {
    PG_USER: "me",
    PG_URL_RO: "postgresql://standby/x?sslmode=require&channel_binding=require",
  }).warnings;
  assert.match(warnings.join(), /^PG_URL_RO: channel_binding=require is not in this version/);
});

test("a password that is asked for serves both, as the role is the same", () => {
  const { options, notes } = runSettings({}, {
    PG_USER: "me",
    PG_HOST_RO: "standby",
    PG_DATABASE_RO: "shop",
  }, "typed");
  assert.deepEqual([options.postgres.password, options.postgresReplica?.password], ["typed", "typed"]);
  assert.match(notes.join(), /^PG_DATABASE_RO: not needed/);
});
