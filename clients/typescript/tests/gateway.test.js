/** The client against the gateway itself, behind a proxy that cuts each connection after some bytes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const { Problem, Threadmill } = await import(process.env.CLIENT ?? "../src/index.ts");
const { url, key, operator } = JSON.parse(readFileSync(process.env.GIVEN, "utf8"));

test("a conversation", async () => {
  const client = new Threadmill(url, key);
  const thread = await client.createThread({ title: "Parcel" });
  const file = await client.uploadFile(new Blob(["Hello"]), { filename: "note.txt" });
  const turn = await client.sendMessage(thread.id, "Where is it?", { attachments: [file] });
  let open = "";
  const done = [];
  const numbers = [];
  for await (const event of client.threadEvents(thread.id)) {
    if (event.id !== null) numbers.push(event.id);
    if (event.type === "turn.started" || event.type === "message.restarted") open = "";
    if (event.type === "message.delta") open += event.text;
    if (event.type === "message.done") {
      assert.ok(event.message.content.startsWith(open));
      open = "";
      done.push(event.message);
    }
    if (event.type === "turn.ended") break;
  }
  assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  assert.deepEqual(done.map((message) => message.role), ["user", "assistant", "tool", "assistant"]);
  const over = await client.waitForTurn(turn.id);
  assert.deepEqual([over.state, over.messages.at(-1).content], ["completed", done.at(-1).content]);
  const stored = [];
  for await (const message of client.listMessages(thread.id, { order: "desc", pageSize: 3 })) stored.push(message.id);
  assert.deepEqual(stored, done.map((message) => message.id).reverse());
  assert.equal(new TextDecoder().decode(await client.downloadFile(thread.id, file.sha256)), "Hello");
  assert.match((await client.createStreamToken(thread.id)).token, /^tms_/);
  const again = await client.waitForTurn((await client.regenerate(thread.id)).id);
  const [main, other] = await client.listBranches(thread.id);
  assert.deepEqual([again.state, other.origin, other.is_chosen], ["completed", "regenerate", true]);
  assert.deepEqual([main.id, again.branch], ["main", other.id]);
  const { ours, theirs } = await client.compareBranches(thread.id, main.id, other.id);
  assert.deepEqual([ours.length, theirs.at(-1).content], [3, again.messages.at(-1).content]);
  assert.equal((await client.renameBranch(thread.id, other.id, "shorter")).name, "shorter");
  assert.equal((await client.chooseBranch(thread.id, "main")).is_chosen, true);
  const made = await client.makeBranch(thread.id, { at: done[0].id });
  await client.deleteBranch(thread.id, made.id);
  const at = new Date(Date.now() + 86_400_000);
  const schedule = await client.createSchedule("late?", { at, threadId: thread.id, name: "late" });
  const changed = await client.updateSchedule(schedule.id, { cron: "30 8 * * *", timeZone: "Europe/Berlin", name: null });
  assert.deepEqual([changed.cron, changed.at, changed.name, changed.content], ["30 8 * * *", null, null, "late?"]);
  assert.equal((await client.pauseSchedule(schedule.id)).state, "paused");
  assert.equal((await client.resumeSchedule(schedule.id)).state, "active");
  const run = await client.waitForTurn((await client.runSchedule(schedule.id)).id);
  assert.deepEqual([run.state, run.schedule_id], ["completed", schedule.id]);
  const runs = [];
  for await (const each of client.listScheduleTurns(schedule.id)) runs.push(each.id);
  for await (const each of client.listSchedules({ threadId: thread.id })) runs.push(each.id);
  assert.deepEqual(runs, [run.id, schedule.id]);
  await client.deleteSchedule(schedule.id);
  await assert.rejects(client.getSchedule(schedule.id), (error) => error instanceof Problem && error.status === 404);
  assert.equal((await client.updateThread(thread.id, { whenBusy: "merge", agent: null })).when_busy, "merge");
  await assert.rejects(client.sendMessage(thread.id, "Hi", { priority: 99 }), (error) => {
    return error instanceof Problem && error.field === "priority";
  });
});

test("webhooks", async () => {
  const client = new Threadmill(url, operator);
  const { webhook, secret } = await client.createWebhook("https://example.org/hooks", { kinds: ["turn.failed"], name: "billing" });
  const told = await client.updateWebhook(webhook.id, { kinds: null, enabled: false });
  assert.deepEqual([told.kinds, told.state, (await client.listWebhooks()).length], [null, "disabled", 1]);
  assert.notEqual((await client.rotateWebhookSecret(webhook.id, { graceSeconds: 0 })).secret, secret);
  assert.deepEqual((await client.listWebhookDeliveries(webhook.id, { state: "dead" }).page()).items, []);
  assert.equal(await client.replayDeadWebhookDeliveries(webhook.id), 0);
  assert.equal((await client.getWebhook(webhook.id)).name, "billing");
  await client.deleteWebhook(webhook.id);
});
