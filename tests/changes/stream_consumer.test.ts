import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { changeSources } from "../../src/mapping/change_sources.ts";
import { ChangeCollector } from "../../src/changes/change_collector.ts";
import { ChangePipeline } from "../../src/changes/change_pipeline.ts";
import { ResumePoint } from "../../src/changes/resume_point.ts";
import { StreamConsumer } from "../../src/changes/stream_consumer.ts";
import { MemoryShare } from "../../src/memory/share.ts";
import type { PgoutputMessage } from "../../src/replication/pgoutput_types.ts";
import type { SyncEvent } from "../../src/status/status.ts";
import { BOOK, BOOKS, mapped, RATING, row, streamed } from "../sync/shop.ts";

/** A consumer whose batches are never begun, and what it has collected. */
function consumerFrom(lastCommit: bigint | null, confirmed = 0n) {
  const observed: SyncEvent[] = [];
  const pipeline = new ChangePipeline({
    processor: { process: () => new Promise(() => {}) },
    memory: new MemoryShare(1_000_000),
    batchBytes: 1_000_000,
    holdBack: () => {},
    onPosition: () => {},
    onFailure: (error) => assert.fail(String(error)),
    observe: () => {},
    signal: new AbortController().signal,
  });
  const known = lastCommit === null
    ? null
    : { lsn: lastCommit, xid: Number(lastCommit), timeMs: Number(lastCommit) };
  const resume = new ResumePoint(() => known, ({ lsn }) => new Error(`${lsn} is absent`));
  const collector = new ChangeCollector(changeSources(mapped(BOOKS)));
  const consumer = new StreamConsumer(collector, pipeline, (event) => observed.push(event), resume);
  consumer.onConnect(confirmed);
  /** The values that are collected now. */
  const collected = () => [...pipeline.collecting.values.values()].flatMap((values) => [...values]);
  return { consumer, pipeline, collected, observed };
}

/** A transaction whose commit record lies at `commitLsn`, 50 bytes long. */
function transaction(commitLsn: bigint, ...changes: readonly PgoutputMessage[]): readonly PgoutputMessage[] {
  return [
    { kind: "begin", finalLsn: commitLsn, commitTimeMs: Number(commitLsn), xid: Number(commitLsn) },
    ...changes,
    { kind: "commit", commitLsn, endLsn: commitLsn + 50n, commitTimeMs: Number(commitLsn) },
  ];
}

const insert = (id: string): PgoutputMessage => ({
  kind: "insert",
  relation: streamed(BOOK),
  newTuple: row(id, "title", null, null),
});

const MESSAGE: PgoutputMessage = {
  ...{ kind: "message", transactional: false, lsn: 1n },
  ...{ prefix: "p", content: Buffer.alloc(0) },
};

describe("The consumer of the stream", () => {
  it("drops transactions up to the last one that was taken, and takes those after it", () => {
    const { consumer, pipeline, collected, observed } = consumerFrom(200n);
    for (const lsn of [100n, 200n]) {
      for (const message of transaction(lsn, insert(String(lsn)))) {
        consumer.onMessage(message, { walEnd: lsn });
      }
    }
    assert.deepEqual(collected(), []);
    assert.deepEqual(observed, []);
    assert.equal(pipeline.collecting.changes, 0);
    assert.deepEqual([consumer.received, consumer.lastCommitAt], [200n, 200]);
    // The next one begins where that before has ended.
    for (const message of transaction(250n, insert("250"))) consumer.onMessage(message, { walEnd: 300n });
    assert.deepEqual(collected(), ["250"]);
    assert.deepEqual([...pipeline.collecting.transactions], [250]);
    assert.equal(observed.length, 1);
    assert.equal(pipeline.collecting.position, 300n);
  });

  it("does not miss an old value in a transaction that is in the index already", () => {
    const { consumer } = consumerFrom(200n);
    const ratings = streamed(RATING, "default");
    const oldTuple = row("1", null, null, null);
    const [begin, change, commit] = transaction(200n, { kind: "delete", relation: ratings, oldTuple });
    assert.ok(begin !== undefined && change !== undefined && commit !== undefined);
    for (const message of [begin, change, commit]) consumer.onMessage(message, { walEnd: 200n });
    const later = consumerFrom(100n, 150n).consumer;
    later.onMessage(begin, { walEnd: 200n });
    assert.throws(() => later.onMessage(change, { walEnd: 200n }), { code: "OLD_VALUE_MISSING" });
  });

  it("misses the last one that was taken at whatever comes behind it", () => {
    const absent = /200 is absent/;
    const send = (consumer: StreamConsumer, messages: readonly PgoutputMessage[], walEnd: bigint) => {
      for (const message of messages) consumer.onMessage(message, { walEnd });
    };
    // Its commit record lies over where the other's began.
    assert.throws(() => send(consumerFrom(200n).consumer, transaction(160n, insert("160")), 160n), absent);
    assert.throws(() => send(consumerFrom(200n).consumer, [MESSAGE], 210n), absent);
    assert.throws(() => consumerFrom(200n).consumer.onKeepalive(201n), absent);
    const { consumer } = consumerFrom(200n);
    consumer.onKeepalive(200n);
    send(consumer, [MESSAGE], 200n);
    send(consumer, [...transaction(200n, insert("200")), MESSAGE], 210n);
    consumer.onKeepalive(260n);
  });

  it("keeps with the position the last transaction that was not taken before", () => {
    const { consumer, pipeline } = consumerFrom(200n);
    for (const lsn of [100n, 200n]) {
      for (const message of transaction(lsn)) consumer.onMessage(message, { walEnd: lsn });
    }
    assert.equal(pipeline.collecting.lastCommit, null);
    for (const message of transaction(300n)) consumer.onMessage(message, { walEnd: 300n });
    const last = { lsn: 300n, xid: 300, timeMs: 300 };
    assert.deepEqual(pipeline.collecting.lastCommit, last);
    consumer.onKeepalive(400n);
    // After a cut it comes again.
    consumer.onConnect(210n);
    for (const message of transaction(250n)) consumer.onMessage(message, { walEnd: 250n });
    assert.deepEqual([pipeline.collecting.lastCommit, pipeline.collecting.position], [last, 400n]);
  });

  it("takes a transaction from its start that was cut off in one that is dropped", () => {
    const { consumer, collected } = consumerFrom(200n);
    const [begin, change] = transaction(200n, insert("200"));
    assert.ok(begin !== undefined && change !== undefined);
    consumer.onMessage(begin, { walEnd: 200n });
    consumer.onMessage(change, { walEnd: 200n });
    consumer.onConnect(250n);
    for (const message of transaction(300n, insert("300"))) consumer.onMessage(message, { walEnd: 350n });
    assert.deepEqual(collected(), ["300"]);
  });
});
