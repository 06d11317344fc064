/** Sources of inbound webhooks, at the gateway itself: what their secrets sign becomes a turn. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const { Threadmill } = await import(process.env.CLIENT ?? "../src/index.ts");
const { url, key, operator } = JSON.parse(readFileSync(process.env.GIVEN, "utf8"));

test("sources of inbound webhooks", async () => {
  const client = new Threadmill(url, operator);
  const parts = { threadId: "shop-{/order}", text: "{/event}", idempotencyKey: "{/id}", user: "ada" };
  const made = await client.createInboundSource("shop", parts, { scheme: "token", header: "X-Token", maxBytes: 2000 });
  const post = (secret, id) => {
    const headers = { "Content-Type": "application/json", "X-Token": secret };
    return fetch(url + made.source.path, { method: "POST", headers, body: JSON.stringify({ id, event: "late", order: 7 }) });
  };
  const received = await post(made.secret, "1");
  assert.deepEqual([received.status, made.source.max_bytes, made.source.mapping.user], [202, 2000, "ada"]);
  assert.equal((await new Threadmill(url, key).getTurn((await received.json()).turn_id)).thread_id, "shop-7");
  const rotated = await client.rotateInboundSourceSecret(made.source.id, { graceSeconds: 60 });
  assert.deepEqual([(await post(made.secret, "2")).status, (await post(rotated.secret, "3")).status], [202, 202]);
  await client.rotateInboundSourceSecret(made.source.id, { graceSeconds: 0, secret: "of the sender's own" });
  assert.deepEqual([(await post(rotated.secret, "4")).status, (await post("of the sender's own", "5")).status], [401, 202]);
  assert.equal((await client.updateInboundSource(made.source.id, { enabled: false })).state, "disabled");
  assert.equal((await post("of the sender's own", "6")).status, 404);
  assert.deepEqual((await client.listInboundSources()).map((each) => each.id), [made.source.id]);
  assert.equal((await client.getInboundSource(made.source.id)).state, "disabled");
  await client.deleteInboundSource(made.source.id);
  assert.deepEqual(await client.listInboundSources(), []);
});
