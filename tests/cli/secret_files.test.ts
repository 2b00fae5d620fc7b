import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { SECRET_VARIABLES, withSecretFiles } from "../../src/cli/secret_files.ts";
import { isKnownVariable } from "../../src/cli/variables.ts";
import { failsWithUsage } from "./fails.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const folder = temporaryFolder("files");
after(() => removeFolder(folder));
const file = join(folder, "file");

describe("A secret in a file", () => {
  it("is taken without the line break at its end, for each variable that may hold one", () => {
    for (const name of SECRET_VARIABLES) {
      for (const end of ["", "\n", "\r\n"]) {
        writeFileSync(file, `p w#"'${end}`);
        assert.deepEqual(withSecretFiles({ PATH: "/bin", [name]: "", [`${name}_FILE`]: file }), {
          PATH: "/bin",
          [name]: `p w#"'`,
        });
      }
      assert.equal(isKnownVariable(`${name}_FILE`), true, `${name}_FILE may stand in .env`);
    }
  });

  it("is not looked for where nothing names one", () => {
    assert.deepEqual(withSecretFiles({ PG_PASSWORD: "pw", PG_URL_FILE: "" }), {
      PG_PASSWORD: "pw",
      PG_URL_FILE: "",
    });
  });

  it("is not guessed where the file cannot be read, holds nothing or too much, or both are set; and not told", () => {
    const PG_PASSWORD_FILE = file;
    writeFileSync(file, "secret");
    failsWithUsage(/are both set/, () => withSecretFiles({ PG_PASSWORD: "secret", PG_PASSWORD_FILE }));
    failsWithUsage(/cannot be read/, () => withSecretFiles({ PG_PASSWORD_FILE: join(folder, "none") }));
    failsWithUsage(/is larger/, () => withSecretFiles({ PG_PASSWORD_FILE: "/dev/zero" }));
    writeFileSync(file, "\n");
    failsWithUsage(/holds nothing/, () => withSecretFiles({ PG_PASSWORD_FILE }));
  });
});
