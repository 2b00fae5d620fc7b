import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { shrinkList } from "./shrink.ts";
import { shrinkHistory } from "./shrink_history.ts";
import { type History, isSavepoint, printHistory, type Statement, statementsOf, stepsOf } from "./work.ts";

const holds = <T>(list: readonly T[], wanted: readonly T[]) => wanted.every((item) => list.includes(item));
const always = () => true;

describe("A list", () => {
  it("is shrunk to the items that fail together, in their order", async () => {
    const culprits = fc.uniqueArray(fc.nat(59), { maxLength: 5 });
    await fc.assert(fc.asyncProperty(culprits, async (wanted) => {
      const items = Array.from({ length: 60 }, (_, at) => at);
      const found = await shrinkList(items, (list) => Promise.resolve(holds(list, wanted)));
      assert.deepEqual(found, wanted.toSorted((a, b) => a - b));
    }));
  });

  it("needs few tries where one item is to blame", async () => {
    let tries = 0;
    const items = Array.from({ length: 256 }, (_, at) => at);
    await shrinkList(items, (list) => Promise.resolve(++tries > 0 && list.includes(37)));
    assert.ok(tries < 40, `${tries} tries`);
  });

  it("ends with no single item that could go, whatever fails", async () => {
    // Fails where the sum is odd: parts alone behave otherwise than together.
    const fails = (list: readonly number[]) =>
      Promise.resolve(list.reduce((sum, item) => sum + item, 0) % 2 === 1);
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(9)), async (items) => {
      fc.pre(await fails(items));
      const found = await shrinkList(items, fails);
      assert.ok(await fails(found));
      for (const at of found.keys()) assert.equal(await fails(found.toSpliced(at, 1)), false);
    }));
  });

  it("is gone through again where one item can go only when another is gone", async () => {
    // In this order, from the two ends to the middle, and in no other.
    const order = [0, 10, 1, 9, 2, 8, 3, 7, 4, 6, 5];
    const fails = (list: readonly number[]) => {
      const gone = order.filter((item) => !list.includes(item)).length;
      return Promise.resolve(list.includes(5) && holds(list, order.slice(gone)));
    };
    const found = await shrinkList(Array.from({ length: 11 }, (_, at) => at), fails);
    assert.deepEqual(found, [5]);
  });

  it("keeps what is found when the time is over", async () => {
    let left = 3;
    const items = Array.from({ length: 64 }, (_, at) => at);
    const found = await shrinkList(items, (list) => Promise.resolve(list.includes(0)), () => left-- > 0);
    assert.ok(found.includes(0) && found.length < 64 && found.length > 1);
  });
});

const statement = (sql: string): Statement => ({ sql });

/** Forty transactions of three writers in four rounds, with savepoints. */
function longHistory(): History {
  const step = (at: number) => ({
    writer: at % 3,
    parts: [
      statement(`first ${at}`),
      { statements: [statement(`second ${at}`), statement(`third ${at}`)], end: "release" } as const,
    ],
    end: "commit" as const,
  });
  return {
    before: ["a", "b", "c"].map(statement),
    rounds: [0, 10, 20, 30].map((from) => Array.from({ length: 10 }, (_, at) => step(from + at))),
  };
}

/** Every statement, in order. */
function statements(history: History): string[] {
  const parts = history.rounds.flat().flatMap((step) => step.parts);
  return [...history.before, ...parts.flatMap((part) => isSavepoint(part) ? part.statements : [part])]
    .map(({ sql }) => sql);
}

describe("A history", () => {
  it("is shrunk to the statements that fail together", async () => {
    const wanted = ["b", "third 7", "first 31"];
    const fails = (history: History) => Promise.resolve(holds(statements(history), wanted));
    const found = await shrinkHistory(longHistory(), fails, always);
    assert.deepEqual(statements(found), wanted);
    assert.equal(found.rounds.length, 1);
    assert.deepEqual(found.rounds.flat().map(({ writer, end }) => [writer, end]), [[0, "none"], [0, "none"]]);
  });

  it("keeps rounds, writers, transactions and savepoints that it takes", async () => {
    const fails = (history: History) => {
      const [first, second] = history.rounds.filter((round) => round.length > 0);
      const inSavepoint = (round: History["rounds"][number] | undefined, sql: string) =>
        round?.some((step) =>
          step.writer > 0 && step.end === "commit" &&
          step.parts.some((part) => isSavepoint(part) && part.statements.some((inner) => inner.sql === sql))
        ) === true;
      return Promise.resolve(inSavepoint(first, "second 4") && inSavepoint(second, "second 11"));
    };
    const found = await shrinkHistory(longHistory(), fails, always);
    assert.equal(await fails(found), true);
    assert.deepEqual(statements(found), ["second 4", "second 11"]);
    assert.deepEqual([stepsOf(found), statementsOf(found)], [2, 2]);
  });

  it("is printed as SQL", () => {
    const history: History = {
      before: [statement("INSERT 1")],
      rounds: [[
        { writer: 1, end: "none", parts: [{ sql: "COPY t (a) FROM STDIN", rows: "VALUES (1)" }] },
        {
          writer: 0,
          end: "rollback",
          parts: [statement("DELETE\nFROM t"), { statements: [statement("UPDATE")], end: "rollback" }],
        },
      ]],
    };
    assert.deepEqual(printHistory(history).split("\n"), [
      ...["-- before the run", "INSERT 1;", ""],
      ...["-- writer 2", "COPY t (a) FROM STDIN;", "-- its rows: VALUES (1)", ""],
      ...[
        "-- writer 1",
        "BEGIN;",
        "  DELETE",
        "  FROM t;",
        "  SAVEPOINT s;",
        "    UPDATE;",
        "  ROLLBACK TO s;",
        "ROLLBACK;",
      ],
      ...["", "-- a quiet point: the documents are compared"],
    ]);
  });
});
