import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { buildProgram, EXIT_MEANINGS } from "../../src/cli/program.ts";
import { SIGNAL_EXIT } from "../../src/cli/signals.ts";
import { isKnownVariable, USED_VARIABLES } from "../../src/cli/variables.ts";
import { EXIT } from "../../src/errors/codes.ts";

const program = buildProgram({
  environment: {},
  output: {
    write: () => Promise.resolve(),
    flush: () => Promise.resolve(),
    closed: new AbortController().signal,
  },
  failureStyle: { format: "text", verbose: false },
  exitCode: 0,
});
const manual = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");

/** Options that concern one invocation only, so that no variable sets them. */
const WITHOUT_VARIABLE = ["--teardown", "--no-create", "--json", "--limit", "--ready"].concat(
  ["--repair", "--sample", "--since", "--index", "--wait", "--id", "--all"],
);

test("every exit code has its meaning, and docs/cli.md has the same table", () => {
  const codes = [...Object.values(EXIT), ...Object.values(SIGNAL_EXIT)];
  assert.deepEqual(EXIT_MEANINGS.map(({ code }) => code), codes);
  const rows = [...manual.matchAll(/^\| (\d+) +\| (.+?) +\|$/gm)].map(([, code, meaning]) => ({
    code: Number(code),
    meaning: meaning?.replaceAll("`", ""),
  }));
  assert.deepEqual(rows, EXIT_MEANINGS);
});

for (const command of program.commands) {
  test(`pgsync ${command.name()}: each option names its variable, and stands in docs/cli.md`, () => {
    const help = command.helpInformation();
    for (const option of command.options.filter(({ hidden }) => !hidden)) {
      const name = option.long ?? "";
      assert.ok(help.includes(name), `${name} is not in --help`);
      assert.ok(manual.includes(`${name}`), `${name} is not in docs/cli.md`);
      if (WITHOUT_VARIABLE.includes(name)) continue;
      const [, variables = ""] = /\(env: (.+)\)$/.exec(option.description) ?? [];
      assert.notEqual(variables, "", `${name} names no variable`);
      for (const variable of variables.split(/ or |=off/).filter((part) => part !== "")) {
        assert.ok(isKnownVariable(variable) || variable === "PGSYNC_ENV_FILE", `${variable} is not known`);
      }
    }
  });
}

test("pgsync --help shows the options of sync, all commands and the exit codes", () => {
  const help = program.helpInformation();
  for (const option of ["--config", "--daemon", "--version", "--help"]) {
    assert.ok(help.includes(option), option);
  }
  for (const command of program.commands) assert.match(help, new RegExp(`^  ${command.name()} `, "m"));
});

test("docs/cli.md names every command and every variable", () => {
  for (const command of program.commands) {
    assert.match(manual, new RegExp(`^### pgsync ${command.name()}`, "m"));
  }
  for (const variable of [...USED_VARIABLES, "PGSYNC_ENV_FILE"]) {
    assert.ok(manual.includes(`\`${variable}\``), `${variable} is not in docs/cli.md`);
  }
});
