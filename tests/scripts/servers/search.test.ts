/** How the demo finds a search engine. Stand-ins for docker and apt are put on the PATH; the server behind them is real. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, test } from "node:test";
import { installLine } from "../../../scripts/servers/install.ts";
import { Advice, isRoot, removeFolder, temporaryFolder } from "../../../scripts/servers/process.ts";
import { findSearchServer, provideJava } from "../../../scripts/servers/search.ts";
import { useElasticsearch } from "../../support/elasticsearch.ts";

const VARIABLES = ["PATH", "JAVA_HOME", "PGSYNC_CACHE", "ELASTICSEARCH_URL", "DOCKER_HOST"];
const saved = new Map(VARIABLES.map((name) => [name, process.env[name]]));
let folder = "";

beforeEach(() => {
  folder = temporaryFolder("path");
  for (const name of ["ELASTICSEARCH_URL", "DOCKER_HOST"]) delete process.env[name];
});

afterEach(() => {
  for (const [name, value] of saved) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  removeFolder(folder);
});

/** Puts a shell script on the PATH; `$FOLDER` in it is the folder of all of them. */
function command(name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${script.replaceAll("$FOLDER", folder)}\n`);
  chmodSync(join(folder, name), 0o755);
}

function findOptions(install = false) {
  const lines: string[] = [];
  return { install, log: (line: string) => void lines.push(line), lines };
}

test("the server that ELASTICSEARCH_URL names comes first", async () => {
  process.env["ELASTICSEARCH_URL"] = "http://elsewhere:9200";
  assert.equal((await findSearchServer(findOptions())).url, "http://elsewhere:9200");
});

test("then docker, where it answers: a container on a loopback port, removed at the end", async () => {
  const { port } = new URL((await useElasticsearch()).url);
  command(
    "docker",
    `echo "$@" >> $FOLDER/calls
case "$1" in
  run) echo c0ffee ;;
  port) echo "127.0.0.1:${port}" ;;
  ps) echo "dead 999999999"; echo "alive ${process.pid}" ;;
esac`,
  );
  process.env["PATH"] = `${folder}${delimiter}${saved.get("PATH")}`;
  const server = await findSearchServer(findOptions());
  assert.equal(server.url, `http://127.0.0.1:${port}`);
  const calls = () => readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
  assert.match(
    calls().find((line) => line.startsWith("run ")) ?? "",
    /--rm .*--publish 127\.0\.0\.1::9200 .* elasticsearch:8\.19\.\d+$/,
  );
  assert.ok(calls().includes("rm --force --volumes dead"));
  assert.ok(!calls().includes("rm --force --volumes alive"));
  await server.stop();
  await server.stop();
  assert.equal(calls().filter((line) => line === "rm --force --volumes c0ffee").length, 1);
});

test("what is missing for the download is named, with the line that installs it", async () => {
  command("apt-get", "exit 1");
  command("apt-cache", 'test "$2" = openjdk-21-jre-headless || exit 100');
  process.env["PATH"] = folder;
  process.env["PGSYNC_CACHE"] = join(folder, "cache");
  const sudo = isRoot() ? "" : "sudo ";
  assert.equal(
    installLine(["java", "maven"]),
    `${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends openjdk-21-jre-headless maven`,
  );
  await assert.rejects(
    provideJava(findOptions()),
    (error) =>
      error instanceof Advice &&
      /Maven.*run: .*apt-get install.* maven.*ELASTICSEARCH_URL/.test(error.message),
  );
});

test("--install installs it, where no password is asked for", { skip: !isRoot() }, async () => {
  command(
    "apt-get",
    'echo "$@" >> $FOLDER/calls; printf "#!/bin/sh\\n" > $FOLDER/mvn; /bin/chmod 755 $FOLDER/mvn',
  );
  command("apt-cache", "exit 0");
  command("env", 'shift; exec "$@"');
  process.env["PATH"] = folder;
  process.env["PGSYNC_CACHE"] = join(folder, "cache");
  await provideJava(findOptions(true));
  assert.ok(existsSync(join(folder, "mvn")));
  assert.match(
    readFileSync(join(folder, "calls"), "utf8"),
    /^update\ninstall -y --no-install-recommends .*maven\n$/,
  );
});
