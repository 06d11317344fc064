/**
 * The client against the stub of `tests/integration/clients`, which loses answers and cuts streams.
 *
 * `make test` runs this on the sources, of which Node.js takes the types away; `make soak` on what the compiler made.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";

const { EventStreamParser, Problem, Threadmill, TurnNotOver, ConnectionLost, UnexpectedAnswer } = await import(
  process.env.CLIENT ?? "../src/index.ts"
);
const { url, key, events, cases, large } = JSON.parse(readFileSync(process.env.GIVEN, "utf8"));

const connect = (behaviour, options = {}) => new Threadmill(`${url}/node-${behaviour}`, key, options);

async function collect(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

/** As it was sent, without what the client adds. */
const sent = ({ cursor, ...event }) => (event.type === "unknown" ? event.raw : event);

for (const [name, [base64, expected]] of Object.entries(cases)) {
  test(`the parser: ${name}`, () => {
    const bytes = Buffer.from(base64, "base64");
    for (const size of [1, 2, 3, bytes.length]) {
      const parser = new EventStreamParser();
      const read = [];
      for (let at = 0; at < bytes.length; at += size) read.push(...parser.feed(bytes.subarray(at, at + size)));
      assert.deepEqual(read.map((event) => [event.name, event.data, event.lastEventId]), expected);
    }
  });
}

for (const behaviour of ["plain", "lose", "half", "busy"]) {
  test(`a message is sent once: ${behaviour}`, async () => {
    const client = connect(behaviour);
    const turn = await client.sendMessage("a", "Grüße", { attachments: [{ sha256: "5".repeat(64), filename: "" }] });
    assert.equal(turn.id, "a-0");
    assert.deepEqual((await collect(client.listTurns("a"))).map((each) => each.id), ["a-0"]);
  });
}

for (const behaviour of ["plain", "drip", "cut-1", "cut-3", "cut-7", "mute-9", "again-9"]) {
  test(`a stream is whole: ${behaviour}`, async () => {
    const client = connect(behaviour, { silenceMs: 200 });
    assert.deepEqual((await collect(client.turnEvents("t"))).map(sent), events);
  });
}

test("a stream goes on behind an event", async () => {
  const after = events.at(-2).id;
  const read = await collect(connect("plain").turnEvents("t", { after }));
  assert.deepEqual(read.map((event) => [event.type, event.cursor]), [["turn.ended", String(after + 1)]]);
  assert.deepEqual(await collect(connect("plain").turnEvents("t", { after: after + 1 })), []);
});

test("events of newer kinds are told apart", async () => {
  const read = await collect(connect("plain").turnEvents("t"));
  assert.deepEqual([...new Set(read.filter((event) => event.type === "unknown").map((event) => event.name))], ["message.hummed"]);
});

test("a signal ends a stream", async () => {
  const giveUp = new AbortController();
  const read = [];
  await assert.rejects(async () => {
    for await (const event of connect("mute-3").turnEvents("t", { signal: giveUp.signal })) {
      read.push(event);
      if (read.length === 4) setTimeout(() => giveUp.abort(), 10);
    }
  }, { name: "AbortError" });
  assert.equal(read.length, 4);
});

test("a list is followed to its end", async () => {
  const client = connect("plain");
  for (let n = 0; n < 5; n++) await client.sendMessage("long", "Hi");
  assert.deepEqual((await collect(client.listTurns("long"))).map((turn) => turn.id), [0, 1, 2, 3, 4].map((n) => `long-${n}`));
  assert.equal((await client.listTurns("long").page()).nextCursor, "2");
});

test("a turn is waited for", async () => {
  await assert.rejects(connect("plain").waitForTurn("t9", { timeoutMs: 0 }), (error) => error instanceof TurnNotOver);
  assert.equal((await connect("plain").waitForTurn("t9")).state, "completed");
});

for (const behaviour of ["plain", "lose-1"]) {
  test(`what a turn waits for is decided: ${behaviour}`, async () => {
    const client = connect(behaviour);
    const [call] = await client.readPending("t");
    assert.deepEqual(await collect(client.listPending()), [call]);
    const digest = "0".repeat(64);
    const said = (answer) => Object.fromEntries(Object.entries(answer).slice(2));
    assert.deepEqual(said(await client.approveCall("t", "c1", { digest })), { decision: "approve", digest });
    assert.deepEqual(said(await client.denyCall("t", "c2", "no")), { decision: "deny", reason: "no" });
    assert.deepEqual(said(await client.editCall("t", "c3", { a: 1 })), { decision: "edit", arguments: { a: 1 } });
    assert.deepEqual(said(await client.answerCall("t", "c4", "b")), { decision: "answer", value: "b" });
    assert.deepEqual(said(await client.giveResult("t", "c5", [1])), { decision: "result", content: [1] });
  });
}

test("what makes a key is sent once", async () => {
  await assert.rejects(connect("lose-2").createWebhook("https://example.org"), (error) => error instanceof ConnectionLost);
  await assert.rejects(connect("lose-3").rotateWebhookSecret("w"), (error) => error instanceof ConnectionLost);
  const parts = { threadId: "a", text: "b", idempotencyKey: "c" };
  await assert.rejects(connect("lose-4").createInboundSource("shop", parts), (error) => error instanceof ConnectionLost);
  await assert.rejects(connect("lose-5").rotateInboundSourceSecret("s"), (error) => error instanceof ConnectionLost);
});

test("a refusal says why", async () => {
  await assert.rejects(connect("plain").getThread("missing"), (error) => {
    assert.ok(error instanceof Problem);
    assert.deepEqual([error.status, error.detail], [404, "thread_id: no such thread is stored"]);
    return true;
  });
});

test("a thread knows its etag", async () => {
  const client = connect("plain");
  const thread = await client.getThread("ä/b");
  assert.deepEqual([thread.id, thread.etag], ["ä/b", '"1"']);
  assert.equal((await client.updateThread(thread.id, { title: "Parcel" }, { etag: thread.etag })).title, "Parcel");
});

test("files go up and down", async () => {
  const client = connect("plain");
  await client.uploadFile(new Blob(["abc"], { type: "text/plain" }), { filename: "a.txt" });
  await client.uploadFile(new Blob(["0123456789".repeat(150_000)]), { filename: "big.bin" });
  assert.equal((await client.downloadFile("a", large)).byteLength, 1_500_000);
});

test("nobody there is told after some tries", async () => {
  const client = new Threadmill("http://127.0.0.1:1", key, { retries: 1 });
  await assert.rejects(client.getTurn("t"), (error) => error instanceof ConnectionLost);
  await assert.rejects(client.turnEvents("t").next(), (error) => error instanceof ConnectionLost);
});

test("what is no gateway is told", async () => {
  await assert.rejects(connect("page").turnEvents("t").next(), (error) => error instanceof UnexpectedAnswer);
  await assert.rejects(connect("moved").getTurn("t"), (error) => error instanceof UnexpectedAnswer);
});

test("secrets stand in no text, and a key may be renewed", async () => {
  assert.ok(!inspect(connect("plain"), { depth: 9, showHidden: true }).includes(key));
  for (const wrong of ["", "tm a", "tm_ä", "tm_a\n"]) {
    assert.throws(() => new Threadmill(url, wrong), (error) => !wrong || !error.message.includes(wrong));
  }
  const keys = ["old", key];
  const client = new Threadmill(`${url}/node-plain`, async () => keys.shift());
  await assert.rejects(client.getThread("a"), (error) => error instanceof Problem && error.status === 401);
  assert.equal((await client.getThread("a")).id, "a");
});

test("addresses and ids that are none are refused", async () => {
  for (const wrong of ["threads.example.com", "ftp://a", "http://user:password@a", "http://a/?key=b"]) {
    assert.throws(() => new Threadmill(wrong, key), TypeError);
  }
  await assert.rejects(connect("plain").deleteThread(".."), TypeError);
});
