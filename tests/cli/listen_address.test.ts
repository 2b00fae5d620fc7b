import assert from "node:assert/strict";
import { test } from "node:test";
import { type ListenAddress, listenSetting, localUrl, parseListen } from "../../src/cli/listen_address.ts";
import { failsWithUsage } from "./fails.ts";

const ADDRESSES: [string, ListenAddress | null, string | null][] = [
  ["127.0.0.1:9399", { hostname: "127.0.0.1", port: 9399 }, "http://127.0.0.1:9399"],
  ["localhost:0", { hostname: "localhost", port: 0 }, "http://localhost:0"],
  [":80", { hostname: "0.0.0.0", port: 80 }, "http://127.0.0.1:80"],
  ["8080", { hostname: "127.0.0.1", port: 8080 }, "http://127.0.0.1:8080"],
  ["[::]:80", { hostname: "::", port: 80 }, "http://[::1]:80"],
  ["off", null, null],
  ["OFF", null, null],
];
for (const [text, expected, url] of ADDRESSES) {
  test(`--listen ${text}`, () => {
    const address = parseListen(text, "--listen");
    assert.deepEqual(address, expected);
    assert.equal(address === null ? null : localUrl(address), url);
  });
}

test("other texts are refused", () => {
  for (const text of ["", "localhost", "a:b", "a:99999", "http://a:1", "::1:80", "a:1:2"]) {
    failsWithUsage(/--listen must be host:port or off/, () => parseListen(text, "--listen"));
  }
});

test("a flag before the variable before the default, and it is known whether somebody asked", () => {
  assert.deepEqual(listenSetting({}, {}), {
    address: { hostname: "127.0.0.1", port: 9399 },
    explicit: false,
  });
  assert.deepEqual(listenSetting({}, { PGSYNC_LISTEN: "off" }), { address: null, explicit: true });
  assert.deepEqual(listenSetting({ listen: ":1" }, { PGSYNC_LISTEN: "off" }).address, {
    hostname: "0.0.0.0",
    port: 1,
  });
});
