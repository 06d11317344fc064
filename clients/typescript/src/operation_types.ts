/** Schedules and webhooks, as the gateway tells of them. */
import type { WhenBusy } from "./types.ts";

/** A message that is sent at its times. */
export interface Schedule {
  id: string;
  name: string | null;
  /** Who asks. */
  user: string | null;
  content: string;
  /** Minute, hour, day of the month, month, day of the week; null of one that runs once. */
  cron: string | null;
  at: string | null;
  time_zone: string;
  /** Which runs are sent that an outage missed. */
  catch_up: "skip" | "one" | "all";
  thread_id: string | null;
  thread_rule: string | null;
  agent: string | null;
  when_busy: WhenBusy | null;
  metadata: Record<string, unknown>;
  priority: number;
  state: "active" | "paused" | "ended";
  /** When it runs next; null of one that has ended. */
  next_at: string | null;
  /** When a run that was refused is tried again. */
  retry_at: string | null;
  last_due_at: string | null;
  last_turn_id: string | null;
  last_error: string | null;
  created_at: string;
  updated_at: string;
}

export type WebhookKind = "turn.completed" | "turn.failed" | "turn.cancelled" | "turn.waiting" | "thread.switched";

/** A server that is told of a tenant's events, without its keys. */
export interface Webhook {
  id: string;
  name: string;
  url: string;
  /** null is all. */
  kinds: WebhookKind[] | null;
  /** null is all. */
  agents: string[] | null;
  link_template: string | null;
  state: "enabled" | "disabled";
  /** `gone`: its server answered 410. */
  disabled_reason: "asked" | "gone" | null;
  /** Attempts in a row that failed. */
  failures: number;
  /** Nothing is sent to it before. */
  retry_at: string | null;
  /** How many keys sign now. */
  signing_keys: number;
  previous_key_expires_at: string | null;
  created_at: string;
  updated_at: string;
}

export interface WebhookSecret {
  webhook: Webhook;
  /** By which its receiver verifies. It is not shown again. */
  secret: string;
}

/** One event, on its way to a webhook. */
export interface WebhookDelivery {
  /** What the receiver knows it by: `webhook-id`. */
  id: string;
  kind: WebhookKind;
  thread_id: string;
  turn_id: string | null;
  state: "pending" | "delivered" | "dead";
  attempts: number;
  /** When it happened. */
  created_at: string;
  next_try_at: string | null;
  last_tried_at: string | null;
  /** The HTTP status of the last attempt. */
  last_status: number | null;
  last_error: string | null;
  finished_at: string | null;
}
