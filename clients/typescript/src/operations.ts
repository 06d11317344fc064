/**
 * Verbs of schedules, which send a message at their times, of webhooks, which tell a server of events, and of sources
 * of inbound webhooks, by which other programs send messages.
 *
 * What stays true: a key to verify by is shown once, so a request that makes one is not repeated: the key of the first
 * would be lost, and with it what is signed by it.
 */
import { turnOf } from "./answers.ts";
import type { InboundSource, InboundSourceSecret, Schedule } from "./operation_types.ts";
import type { Webhook, WebhookDelivery, WebhookSecret } from "./operation_types.ts";
import type { InboundMapping, NewInboundSource, NewSchedule, NewWebhook } from "./options.ts";
import type { ScheduleChanges, WebhookChanges } from "./options.ts";
import type { Pages } from "./pages.ts";
import { path, readJson } from "./requests.ts";
import type { Turn } from "./types.ts";
import { Verbs } from "./verbs.ts";

export class Operations extends Verbs {
  /**
   * Have a message sent at the times of `cron`, or once `at` a moment, to `threadId` or by `threadRule` to a thread with
   * the date of the run, as `report-{date}`. The same `name` is the same schedule.
   */
  async createSchedule(content: string, values: NewSchedule): Promise<Schedule> {
    const { idempotencyKey, user, ...others } = values;
    const body = { content, user, ...writeSchedule(others) };
    return readJson(await this.post(path("schedules"), body, { key: idempotencyKey })) as Schedule;
  }

  getSchedule(scheduleId: string): Promise<Schedule> {
    return this.gateway.json({ method: "GET", path: path("schedules", scheduleId) });
  }

  /** List schedules, the oldest first: of one user, or those that send to one thread. */
  listSchedules(filter: { user?: string; threadId?: string; pageSize?: number } = {}): Pages<Schedule> {
    const query = { user: filter.user, thread_id: filter.threadId, limit: filter.pageSize };
    return this.list("schedules", path("schedules"), query);
  }

  /** List the turns of a schedule's runs, the newest first. */
  listScheduleTurns(scheduleId: string, options: { pageSize?: number } = {}): Pages<Turn> {
    return this.list("turns", path("schedules", scheduleId, "turns"), { limit: options.pageSize });
  }

  /**
   * Change what is named of a schedule, from its next run on; null takes away what it can be without. `cron` and `at`,
   * and `threadId` and `threadRule`, each take the place of the other.
   */
  updateSchedule(scheduleId: string, changes: ScheduleChanges): Promise<Schedule> {
    return this.gateway.json({ method: "PATCH", path: path("schedules", scheduleId), json: writeSchedule(changes) });
  }

  /** Have a schedule send nothing until it is resumed. */
  async pauseSchedule(scheduleId: string): Promise<Schedule> {
    return readJson(await this.post(path("schedules", scheduleId, "pause"))) as Schedule;
  }

  /** Have a schedule send again from now on; what fell into the pause is not made up for. */
  async resumeSchedule(scheduleId: string): Promise<Schedule> {
    return readJson(await this.post(path("schedules", scheduleId, "resume"))) as Schedule;
  }

  /** Send a schedule's message now, also while it is paused; its next time stays. */
  async runSchedule(scheduleId: string, options: { idempotencyKey?: string } = {}): Promise<Turn> {
    return turnOf(await this.post(path("schedules", scheduleId, "run"), undefined, { key: options.idempotencyKey }));
  }

  /** Delete a schedule. The turns of its runs stay. */
  deleteSchedule(scheduleId: string): Promise<void> {
    return this.delete(path("schedules", scheduleId));
  }

  /**
   * Have a server told of events from now on, of all or of some kinds and agents: with the key to verify by. It is sent
   * once: after `ConnectionLost`, look whether it is in the list.
   */
  createWebhook(url: string, values: NewWebhook = {}): Promise<WebhookSecret> {
    const call = { method: "POST", path: path("webhooks"), json: { url, ...writeWebhook(values) } };
    return this.gateway.json({ ...call, isSentOnce: true });
  }

  /** Read all webhooks, the oldest first. */
  async listWebhooks(): Promise<Webhook[]> {
    const call = { method: "GET", path: path("webhooks") };
    return (await this.gateway.json<{ webhooks: Webhook[] }>(call)).webhooks;
  }

  getWebhook(webhookId: string): Promise<Webhook> {
    return this.gateway.json({ method: "GET", path: path("webhooks", webhookId) });
  }

  /** Change where a webhook is, what it is told of (null is all), or whether. */
  updateWebhook(webhookId: string, changes: WebhookChanges): Promise<Webhook> {
    return this.gateway.json({ method: "PATCH", path: path("webhooks", webhookId), json: writeWebhook(changes) });
  }

  /** Delete a webhook, with what was not delivered yet. */
  deleteWebhook(webhookId: string): Promise<void> {
    return this.delete(path("webhooks", webhookId));
  }

  /** Give a webhook a new key; the one before signs as well for so many seconds, or a day. It is sent once. */
  rotateWebhookSecret(webhookId: string, options: { graceSeconds?: number } = {}): Promise<WebhookSecret> {
    const call = { method: "POST", path: path("webhooks", webhookId, "rotate-secret") };
    const json = { grace_seconds: options.graceSeconds };
    return this.gateway.json({ ...call, json, isSentOnce: true });
  }

  /** List the deliveries to a webhook, the newest first. */
  listWebhookDeliveries(
    webhookId: string,
    filter: { state?: WebhookDelivery["state"]; pageSize?: number } = {},
  ): Pages<WebhookDelivery> {
    const query = { state: filter.state, limit: filter.pageSize };
    return this.list("deliveries", path("webhooks", webhookId, "deliveries"), query);
  }

  /** Send a delivery once more, under its id. */
  async replayWebhookDelivery(webhookId: string, deliveryId: string): Promise<WebhookDelivery> {
    const where = path("webhooks", webhookId, "deliveries", deliveryId, "replay");
    return readJson(await this.post(where)) as WebhookDelivery;
  }

  /** Send all dead deliveries once more, or those of events since then; returns how many there are. */
  async replayDeadWebhookDeliveries(webhookId: string, options: { since?: Date } = {}): Promise<number> {
    const answer = await this.post(path("webhooks", webhookId, "replay-dead"), { since: options.since?.toISOString() });
    return (readJson(answer) as { replayed: number }).replayed;
  }

  /**
   * Make a source: an address to which another program posts its webhooks, and the secret that it signs them with. It is
   * sent once: after `ConnectionLost`, look whether it is in the list.
   */
  createInboundSource(
    name: string,
    mapping: InboundMapping,
    values: NewInboundSource = {},
  ): Promise<InboundSourceSecret> {
    const { threadId, idempotencyKey, ...sameParts } = mapping;
    const { whenBusy, maxBytes, ...same } = values;
    const parts = { thread_id: threadId, idempotency_key: idempotencyKey, ...sameParts };
    const json = { name, mapping: parts, when_busy: whenBusy, max_bytes: maxBytes, ...same };
    return this.gateway.json({ method: "POST", path: path("inbound-sources"), json, isSentOnce: true });
  }

  /** Read all sources of inbound webhooks, the oldest first. */
  async listInboundSources(): Promise<InboundSource[]> {
    const call = { method: "GET", path: path("inbound-sources") };
    return (await this.gateway.json<{ sources: InboundSource[] }>(call)).sources;
  }

  getInboundSource(sourceId: string): Promise<InboundSource> {
    return this.gateway.json({ method: "GET", path: path("inbound-sources", sourceId) });
  }

  /** Have a source take what comes, or refuse it as if it were not there. */
  updateInboundSource(sourceId: string, changes: { enabled: boolean }): Promise<InboundSource> {
    return this.gateway.json({ method: "PATCH", path: path("inbound-sources", sourceId), json: changes });
  }

  /** Delete a source; the turns of what came stay. */
  deleteInboundSource(sourceId: string): Promise<void> {
    return this.delete(path("inbound-sources", sourceId));
  }

  /**
   * Give a source a new secret, or the sender's; the one before is good as well for so many seconds, or a day. It is
   * sent once.
   */
  rotateInboundSourceSecret(
    sourceId: string,
    options: { graceSeconds?: number; secret?: string } = {},
  ): Promise<InboundSourceSecret> {
    const call = { method: "POST", path: path("inbound-sources", sourceId, "rotate-secret") };
    const json = { grace_seconds: options.graceSeconds, secret: options.secret };
    return this.gateway.json({ ...call, json, isSentOnce: true });
  }
}

function writeSchedule(values: ScheduleChanges): object {
  const { at, timeZone, catchUp, threadId, threadRule, whenBusy, ...same } = values;
  const renamed = { time_zone: timeZone, catch_up: catchUp, thread_id: threadId, thread_rule: threadRule };
  return { at: at?.toISOString(), ...renamed, when_busy: whenBusy, ...same };
}

function writeWebhook(values: WebhookChanges): object {
  const { linkTemplate, ...same } = values;
  return { link_template: linkTemplate, ...same };
}
