import assert from "node:assert/strict";
import { test } from "node:test";
import { describeFailure } from "../../src/cli/failure.ts";
import { PgsyncError } from "../../src/errors/error.ts";

const TEXT = { format: "text", verbose: false } as const;

test("an error is its code, a sentence, and what to do; no stack trace", () => {
  const error = new PgsyncError("PRIVILEGE_MISSING", "The role shop may not read public.book.", {
    remedy: "Have the owner run:\nGRANT SELECT ON public.book TO shop;",
  });
  assert.equal(
    describeFailure(error, TEXT),
    "error PRIVILEGE_MISSING: The role shop may not read public.book.\n" +
      "  Have the owner run:\n  GRANT SELECT ON public.book TO shop;",
  );
});

test("several lines stand below the code", () => {
  const error = new PgsyncError("SCHEMA_INVALID", "a:1:2: no\na:3:4: neither", { remedy: "Mend it." });
  assert.equal(
    describeFailure(error, TEXT),
    "error SCHEMA_INVALID:\n  a:1:2: no\n  a:3:4: neither\n  Mend it.",
  );
});

test("whatever else is thrown is INTERNAL; its stack and causes only with --verbose", () => {
  const thrown = new Error("no", { cause: Object.assign(new Error("deep"), { code: "ECONNRESET" }) });
  assert.match(describeFailure(thrown, TEXT), /^error INTERNAL: no\n {2}Report it[^\n]*$/);
  const verbose = describeFailure(thrown, { format: "text", verbose: true });
  assert.match(verbose, /failure\.test\.ts/);
  assert.match(verbose, /caused by Error: deep[^]*ECONNRESET/);
});

test("as JSON it is one line, like those of the log", () => {
  const line = describeFailure(new PgsyncError("USAGE", "No."), { format: "json", verbose: false });
  const { time: _time, ...rest } = JSON.parse(line);
  assert.deepEqual(rest, {
    level: "fatal",
    category: "pgsync.cli",
    message: "No.",
    properties: {
      code: "USAGE",
      remedy: "Correct the option or variable that is named; `pgsync --help` lists them all.",
      next: "halt",
      exitCode: 2,
    },
  });
});
