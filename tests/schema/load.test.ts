import assert from "node:assert/strict";
import { truncateSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { PgsyncError } from "../../src/errors/error.ts";
import { type LoadOptions, loadSchema } from "../../src/schema/load.ts";
import { removeFolder, temporaryFolder } from "../../scripts/servers/process.ts";

const TEXT = "database: $DB\nnodes: {table: book}\n";
const OPTIONS: LoadOptions = { environment: { DB: "books" } };

const folder = temporaryFolder("schema");
after(() => removeFolder(folder));

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Asserts that a source is refused with a code and a sentence. */
async function refused(
  source: string,
  code: string,
  message: string | RegExp,
  options = OPTIONS,
): Promise<void> {
  await assert.rejects(loadSchema(source, options), (error) => {
    assert.ok(error instanceof PgsyncError, String(error));
    assert.equal(error.code, code);
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    // With --verbose, stacks and causes are printed, too.
    assert.doesNotMatch(inspect(error, { depth: Infinity, showHidden: true }), /secret/);
    return true;
  });
}

/** Runs a test against a web server of its own; `address` is `http://127.0.0.1:<port>`. */
async function withServer(listener: RequestListener, use: (address: string) => Promise<void>): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = server.address();
    assert.ok(typeof address === "object" && address !== null);
    await use(`http://127.0.0.1:${address.port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

test("a path", async () => {
  const path = write("schema.yaml", TEXT);
  const schema = await loadSchema(path, OPTIONS);
  assert.equal(schema.source, path);
  assert.equal(schema.documents[0]?.database, "books");
});

test("a file URL", async () => {
  const path = write("a b.yaml", TEXT);
  assert.equal((await loadSchema(pathToFileURL(path).href, OPTIONS)).source, path);
});

test("standard input", async () => {
  const schema = await loadSchema("-", { ...OPTIONS, readStdin: () => Promise.resolve(TEXT) });
  assert.equal(schema.source, "<stdin>");
  assert.equal(schema.documents[0]?.root.table, "book");
});

test("a URL", async () => {
  await withServer((request, response) => {
    assert.equal(request.url, "/schema.yaml?token=secret");
    response.end(TEXT);
  }, async (address) => {
    const schema = await loadSchema(`${address}/schema.yaml?token=secret`, OPTIONS);
    assert.equal(schema.source, `${address}/schema.yaml`);
    assert.equal(schema.documents[0]?.database, "books");
  });
});

test("user and password of a URL are sent, and do not appear in messages", async () => {
  await withServer((request, response) => {
    const expected = `Basic ${btoa("me:p@ss")}`;
    response.end(request.headers.authorization === expected ? "hello" : TEXT);
  }, async (address) => {
    const url = address.replace("//", "//me:p%40ss@");
    await refused(url, "SCHEMA_INVALID", new RegExp(`^${address}/:1:1: must be a document`));
  });
});

test("user and password are not carried on to where a URL is redirected", async () => {
  await withServer((request, response) => {
    response.end(request.headers.authorization === undefined ? TEXT : "secret");
  }, async (elsewhere) => {
    await withServer((_request, response) => {
      response.writeHead(302, { location: `${elsewhere}/s.yaml` }).end();
    }, async (address) => {
      const schema = await loadSchema(address.replace("//", "//me:secret@"), OPTIONS);
      assert.equal(schema.documents[0]?.database, "books");
    });
  });
});

test("a URL that answers with an error", async () => {
  await withServer((_request, response) => response.writeHead(404).end(), async (address) => {
    await refused(`${address}/s?token=secret`, "SCHEMA_UNREADABLE", `${address}/s answers 404 Not Found.`);
  });
});

test("a URL that does not answer in time", async () => {
  await withServer(() => {}, async (address) => {
    const message = `${address}/ does not answer within 0.2 s.`;
    await refused(address, "SCHEMA_UNREADABLE", message, { ...OPTIONS, timeoutMs: 200 });
  });
});

test("a URL whose answer stops half way", async () => {
  await withServer((_request, response) => void response.write("database: "), async (address) => {
    const message = `${address}/ does not answer within 0.2 s.`;
    await refused(address, "SCHEMA_UNREADABLE", message, { ...OPTIONS, timeoutMs: 200 });
  });
});

test("a URL where nobody listens, without its query in the message", async () => {
  let free = "";
  await withServer(() => {}, (address) => Promise.resolve(void (free = address)));
  await refused(
    `${free}/s?token=secret`,
    "SCHEMA_UNREADABLE",
    new RegExp(`^${free}/s cannot be read \\((?!.*secret)`),
  );
});

test("a URL that is redirected to where nobody is, without what stands in the redirect", async () => {
  let location = "";
  await withServer((_request, response) => response.writeHead(302, { location }).end(), async (address) => {
    const message = new RegExp(`^${address}/s cannot be read \\((?!.*secret)`);
    for (
      const elsewhere of [
        // It speaks no TLS.
        `${address.replace("http:", "https:")}/x?signature=secret`,
        `${address.replace("http:", "https:")}/x?signature=a(b):secret`,
        `${address.replace("http://", "https://me:secret@")}/`,
        "//h:99999/?signature=a b secret",
        "http://[h?signature=secret",
        "ftp://h/?signature=secret",
        "/again?signature=secret",
      ]
    ) {
      location = elsewhere;
      await refused(`${address}/s?token=secret`, "SCHEMA_UNREADABLE", message);
    }
  });
});

test("a URL that sends without end is cut off at 10 MB", async () => {
  await withServer((_request, response) => {
    const chunk = Buffer.alloc(1024 * 1024, "#");
    const send = () => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on("drain", send);
    send();
  }, async (address) => {
    await refused(address, "SCHEMA_INVALID", `${address}/ is larger than 10 MB.`);
  });
});

test("a file that is larger than 10 MB", async () => {
  const path = write("large.yaml", "#".repeat(10 * 1024 * 1024 + 1));
  await refused(path, "SCHEMA_INVALID", `${path} is larger than 10 MB.`);
});

test("a file of 100 MB, or a device without end, is not read to its end", async () => {
  const path = write("hole.json", "");
  truncateSync(path, 100 * 1024 * 1024);
  const before = process.memoryUsage.rss();
  for (const source of [path, "/dev/zero"]) {
    await refused(source, "SCHEMA_INVALID", `${source} is larger than 10 MB.`);
  }
  assert.ok(process.memoryUsage.rss() - before < 100 * 1024 * 1024);
});

test("a file that does not exist", async () => {
  const path = join(folder, "none.yaml");
  await refused(path, "SCHEMA_UNREADABLE", `${path} does not exist.`);
});

test("a folder", async () => {
  await refused(folder, "SCHEMA_UNREADABLE", `${folder} is a folder, not a schema file.`);
});

test("a file that is not UTF-8", async () => {
  const path = write("latin1.yaml", Uint8Array.from([0x61, 0x3a, 0x20, 0xe4]));
  await refused(path, "SCHEMA_INVALID", `${path} is not UTF-8 text.`);
});

test("a byte order mark is no part of the text", async () => {
  assert.equal((await loadSchema(write("bom.yaml", `\uFEFF${TEXT}`), OPTIONS)).documents.length, 1);
});

const SOURCES: readonly [string, string, string][] = [
  ["", "SCHEMA_UNREADABLE", "No schema file is named."],
  ["s3://bucket/key", "SCHEMA_UNSUPPORTED", "This version does not read schema files from s3."],
  [
    "ftp://host/file",
    "SCHEMA_UNREADABLE",
    "A schema file cannot be read from a ftp URL: only http, https and file will do.",
  ],
  ["http://", "SCHEMA_UNREADABLE", "The address of the schema file is not a valid URL."],
  ["http://me:secret@h:99999/", "SCHEMA_UNREADABLE", "The address of the schema file is not a valid URL."],
  ["http://%zz:secret@localhost/", "SCHEMA_UNREADABLE", "The address of the schema file is not a valid URL."],
];

for (const [source, code, message] of SOURCES) {
  test(`"${source}" is refused`, () => refused(source, code, message));
}
