import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { PgsyncError } from "../../src/errors/error.ts";
import { type FollowSettings, followSlot, type SlotFollower } from "../../src/replication/follow.ts";
import { inspectSlot } from "../../src/replication/slot.ts";
import { dropSlot } from "../../src/replication/slot_drop.ts";
import { eventually } from "../support/eventually.ts";
import { ownPostgres, usePostgres } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp_proxy.ts";
import { newSource, Recorder, type Source } from "./setup.ts";

const DDL = "CREATE TABLE public.book (id int PRIMARY KEY)";

/** A follower that records, confirms each commit, and drops an open transaction when it connects, as a consumer should. */
class Following {
  readonly recorder = new Recorder();
  readonly faults: PgsyncError[] = [];
  readonly follower: SlotFollower;
  readonly #stop = new AbortController();
  connects = 0;
  /** How many messages of open transactions were dropped. */
  dropped = 0;

  constructor(source: Source, changes: Partial<FollowSettings> = {}) {
    const { options, database, slot, publication } = source;
    this.follower = followSlot({
      options,
      database,
      slot,
      publication,
      startFrom: () => ({ position: this.recorder.position, startLsn: this.recorder.position }),
      onConnect: () => {
        this.connects++;
        const begin = this.recorder.messages.findLastIndex((message) => message.kind === "begin");
        const commit = this.recorder.messages.findLastIndex((message) => message.kind === "commit");
        if (begin > commit) this.dropped += this.recorder.messages.splice(begin).length;
      },
      onMessage: this.recorder.onMessage,
      onFault: (fault) => this.faults.push(fault),
      signal: this.#stop.signal,
      ...changes,
    });
    this.recorder.onCommit = (position) => this.follower.confirm(position);
  }

  /** The keys that were inserted, in the order of their arrival. */
  get ids(): number[] {
    return this.recorder.messages.flatMap((message) =>
      message.kind === "insert" ? [Number(message.newTuple.text(0))] : []
    );
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.follower.done;
  }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

for (const major of [15, 17] as const) {
  describe(`PostgreSQL ${major}`, () => {
    async function withSource(use: (source: Source, url: string) => Promise<void>): Promise<void> {
      const { url } = await (await usePostgres(major)).createDatabase();
      const source = await newSource(url, DDL, ["book"]);
      try {
        await use(source, url);
      } finally {
        await source.sql.end({ timeout: 1 });
      }
    }

    test("a terminated walsender is replaced, and every row comes once", () =>
      withSource(async (source) => {
        const { sql, slot } = source;
        const following = new Following(source);
        for (let round = 1; round <= 3; round++) {
          await sql`INSERT INTO public.book VALUES (${round})`;
          await eventually(() => assert.deepEqual(following.ids, range(round)));
          await eventually(async () =>
            assert.equal((await inspectSlot(sql, slot))?.confirmedFlushLsn, following.recorder.position)
          );
          await sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${slot}`;
          await eventually(() => assert.equal(following.connects, round + 1));
        }
        assert.deepEqual(following.faults.map((fault) => fault.code), Array(3).fill("POSTGRES_UNREACHABLE"));
        await following.stop();
        assert.equal((await inspectSlot(sql, slot))?.active, false);
      }));

    test("one that begins paused delivers nothing, whatever is sent, until it is resumed", () =>
      withSource(async (source) => {
        const { sql, slot } = source;
        await sql`INSERT INTO public.book SELECT generate_series(1, 100)`;
        const following = new Following(source, { startPaused: true });
        await eventually(async () => {
          const sent = await sql`
            SELECT FROM pg_replication_slots AS slots JOIN pg_stat_replication AS walsender ON walsender.pid = slots.active_pid
            WHERE slots.slot_name = ${slot} AND walsender.sent_lsn > slots.confirmed_flush_lsn`;
          assert.equal(sent.length, 1);
        }, { what: "the server to have sent the rows" });
        // Also after a reconnect.
        await following.follower.renew();
        await eventually(() => assert.equal(following.connects, 2));
        assert.deepEqual(following.recorder.messages, []);
        following.follower.resume();
        await eventually(() => assert.deepEqual(following.ids, range(100)));
        await following.stop();
      }));

    test("a session is renewed: another takes over, and every row comes once", () =>
      withSource(async (source) => {
        const { sql } = source;
        const following = new Following(source);
        // Before there is a session, too.
        await following.follower.renew();
        for (let round = 1; round <= 3; round++) {
          await sql`INSERT INTO public.book VALUES (${round})`;
          await eventually(() => assert.deepEqual(following.ids, range(round)));
          const connects = following.connects;
          await Promise.all([following.follower.renew(), following.follower.renew()]);
          await eventually(() => assert.equal(following.connects, connects + 1));
        }
        assert.deepEqual(following.faults, []);
        await following.stop();
        await following.follower.renew();
      }));

    test("a server that is restarted, killed or away for a while is followed on", async () => {
      const server = await ownPostgres({ major });
      const source = await newSource(server.url, DDL, ["book"]);
      const { sql } = source;
      const following = new Following(source);
      await sql`INSERT INTO public.book VALUES (1)`;
      await eventually(() => assert.deepEqual(following.ids, range(1)));

      await server.restart("fast");
      await sql`INSERT INTO public.book VALUES (2)`;
      await eventually(() => assert.deepEqual(following.ids, range(2)));

      await server.kill();
      await eventually(() => assert.ok(following.faults.length >= 3, "a few refused attempts"));
      await server.start();
      await eventually(() => sql`INSERT INTO public.book VALUES (3)`);
      await eventually(() => assert.deepEqual(following.ids, range(3)), { timeout: 40_000 });
      assert.ok(following.faults.every((fault) => fault.code === "POSTGRES_UNREACHABLE"));
      await following.stop();
      await sql.end({ timeout: 1 });
      await server.stop("immediate");
    });

    test("a connection that is cut in the middle of a transaction: it comes again, whole", () =>
      withSource(async (source, url) => {
        const proxy = await startTcpProxy(url);
        const behind = { ...source, options: { ...source.options, port: Number(new URL(proxy.url).port) } };
        const following = new Following(behind);
        await eventually(() => assert.equal(following.connects, 1));
        // The transaction has more than 900,000 bytes.
        proxy.cutAfter(100_000);
        await source.sql`INSERT INTO public.book SELECT generate_series(1, 20000)`;
        await eventually(() => assert.equal(following.recorder.count("commit"), 1));
        assert.deepEqual(following.ids, range(20_000));
        assert.equal(following.connects, 2);
        assert.ok(following.dropped > 1, "some rows came before the cut");
        await following.stop();
        await proxy.stop();
      }));

    test("a pause holds beyond a reconnect", () =>
      withSource(async (source) => {
        const { sql, slot } = source;
        const following = new Following(source);
        await eventually(() => assert.equal(following.connects, 1));
        following.follower.pause();
        await sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${slot}`;
        await eventually(() => assert.equal(following.connects, 2));
        await sql`INSERT INTO public.book VALUES (1)`;
        await eventually(async () => {
          const rows =
            await sql`SELECT sent_lsn FROM pg_stat_replication WHERE sent_lsn >= pg_current_wal_lsn()`;
          assert.ok(rows.length > 0);
        });
        assert.deepEqual(following.ids, []);
        following.follower.resume();
        await eventually(() => assert.deepEqual(following.ids, [1]));
        await following.stop();
      }));

    test("a slot that somebody else follows is waited for", () =>
      withSource(async (source) => {
        const first = new Following(source);
        await eventually(() => assert.equal(first.connects, 1));
        const second = new Following(source);
        await eventually(() => assert.equal(second.faults[0]?.code, "SLOT_ACTIVE"));
        assert.equal(second.follower.connected, false);
        await first.stop();
        await eventually(() => assert.equal(second.connects, 1));
        await second.stop();
      }));

    test("a slot that is dropped meanwhile halts", () =>
      withSource(async (source) => {
        const { sql, slot } = source;
        const following = new Following(source);
        await eventually(() => assert.equal(following.connects, 1));
        await eventually(async () => {
          await sql`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = ${slot}`;
          assert.equal(await dropSlot(sql, slot, 0), true);
        });
        await assert.rejects(following.follower.done, { code: "SLOT_MISSING" });
        assert.equal(following.follower.connected, false);
      }));

    test("what the consumer throws halts", () =>
      withSource(async (source) => {
        const following = new Following(source, {
          onMessage: () => {
            throw new Error("a fault in the consumer");
          },
        });
        await source.sql`INSERT INTO public.book VALUES (1)`;
        await assert.rejects(following.follower.done, { code: "INTERNAL" });
        assert.deepEqual(following.faults, []);
      }));
  });
}

test("an abort ends it while it connects, while it waits, and before it begins", async () => {
  const { url } = await (await usePostgres()).createDatabase();
  const source = await newSource(url, DDL, ["book"]);
  const away = { ...source, options: { ...source.options, port: 1 } };

  const waiting = new Following(away);
  await eventually(() => assert.ok(waiting.faults.length > 2));
  await waiting.stop();

  const connecting = new Following(source);
  await connecting.stop();
  await eventually(async () => assert.equal((await inspectSlot(source.sql, source.slot))?.active, false));

  const before = new Following(source, { signal: AbortSignal.abort() });
  await before.follower.done;
  assert.equal(before.connects, 0);
  await source.sql.end({ timeout: 1 });
});
