/** Schedules, webhooks and sources of inbound webhooks, as the gateway tells of them. */
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

/** How a sender of webhooks signs. */
export type InboundScheme = "standard-webhooks" | "hmac-sha256" | "github" | "stripe" | "token";

/** Another program that sends messages by its webhooks, without its secrets. */
export interface InboundSource {
  id: string;
  name: string;
  /** Where it posts to, at the gateway's host. */
  path: string;
  scheme: InboundScheme;
  /** The header of its signature, or of its secret. */
  header: string | null;
  /** Which parts of a body are the message: templates. */
  mapping: {
    thread_id: string;
    text: string;
    idempotency_key: string;
    user: string | null;
    metadata: Record<string, string>;
  };
  /** The values of which a body has to have one, by pointer, to be taken. */
  only: Record<string, unknown[]>;
  agent: string | null;
  when_busy: WhenBusy | null;
  priority: number;
  /** Bytes of a body, at most. */
  max_bytes: number;
  state: "enabled" | "disabled";
  created_at: string;
  updated_at: string;
}

export interface InboundSourceSecret {
  source: InboundSource;
  /** What its sender signs with. It is not shown again. */
  secret: string;
}
