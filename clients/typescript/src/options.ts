/** What verbs of the client take besides what they are about. */
import type { InboundScheme, Schedule, WebhookKind } from "./operation_types.ts";
import type { File, WhenBusy } from "./types.ts";

export interface SendOptions {
  /** Files that were uploaded. */
  attachments?: Pick<File, "sha256" | "filename">[];
  agent?: string;
  metadata?: Record<string, unknown>;
  user?: string;
  priority?: number;
  /** The message waits until then. */
  notBefore?: Date;
  /** A turn that is not over by then fails. */
  deadline?: Date;
  /** What becomes of it while its thread has an unfinished turn. */
  whenBusy?: WhenBusy;
  /** How many seconds a message to be merged waits for more. */
  mergeWindow?: number;
  /** Another branch than the one that is chosen. */
  branch?: string;
  /** Make the thread where there is none of this id. */
  create?: boolean;
  /** Of your own, as the id of what causes the message: all calls with it make one turn. */
  idempotencyKey?: string;
  signal?: AbortSignal | undefined;
}

export interface ThreadFilter {
  user?: string;
  title?: string;
  order?: "created" | "updated";
  pageSize?: number;
}

export interface ThreadChanges {
  /** null takes it away. */
  title?: string | null;
  /** The keys that change: a value of null removes its key. */
  metadata?: Record<string, unknown>;
  /** To whom the thread is handed over; null gives it back to the default agent. */
  agent?: string | null;
  /** Of messages that do not say it; null leaves it to the agent. */
  whenBusy?: WhenBusy | null;
}

export interface AnswerOptions {
  /** Who answers; the one who answered before without it. */
  agent?: string;
  metadata?: Record<string, unknown>;
  user?: string;
  priority?: number;
  /** Another branch than the one that is chosen. */
  branch?: string;
  idempotencyKey?: string;
}

export interface EditOptions extends AnswerOptions {
  /** Files in place of those of the old message, which it keeps without them. */
  attachments?: Pick<File, "sha256" | "filename">[];
}

export interface BranchOptions {
  /** The message that it begins behind, by its `seq` or its id; the last one without it. */
  at?: number | string;
  name?: string;
  /** The branch that it begins on; the chosen one without it. */
  branch?: string;
}

export interface DecisionOptions {
  /** Of the call as it was shown: decide only if it is that one still. */
  digest?: string;
}

/** What can be said of a schedule, and changed: null takes away what it can be without. */
export interface ScheduleChanges {
  content?: string;
  /** Minute, hour, day of the month, month, day of the week. */
  cron?: string;
  /** The one time at which it runs, in the place of `cron`. */
  at?: Date;
  /** In which `cron` and the rule are read, as `Europe/Berlin`. */
  timeZone?: string;
  /** Which runs are sent that an outage missed. */
  catchUp?: Schedule["catch_up"];
  threadId?: string;
  /** A thread id with the date of the run, in the place of `threadId`. */
  threadRule?: string;
  name?: string | null;
  agent?: string | null;
  whenBusy?: WhenBusy | null;
  metadata?: Record<string, unknown> | null;
  priority?: number;
}

export interface NewSchedule extends Omit<ScheduleChanges, "content"> {
  user?: string;
  idempotencyKey?: string;
}

export interface NewWebhook {
  /** Of what it is told; all without it, or with null. */
  kinds?: WebhookKind[] | null;
  /** Of whose turns; all without it, or with null. */
  agents?: string[] | null;
  /** Where a person decides what a turn waits for: `https://example.org/decide/{turn_id}/{call_id}`. */
  linkTemplate?: string | null;
  name?: string;
}

export interface WebhookChanges extends NewWebhook {
  url?: string;
  enabled?: boolean;
}

/** Which parts of a body are the message: templates with `{/json/pointer}`, `{header:name}` and `{sha256}`. */
export interface InboundMapping {
  threadId: string;
  text: string;
  /** What tells an event that comes again. */
  idempotencyKey: string;
  /** Who asks. */
  user?: string;
  /** A template for each key of the message's metadata. */
  metadata?: Record<string, string>;
}

export interface NewInboundSource {
  /** How the sender signs; `standard-webhooks` without it. */
  scheme?: InboundScheme;
  /** The header of the signature or the secret, of `hmac-sha256` and `token`. */
  header?: string;
  /** The values of which a body has to have one, by pointer, to be taken. */
  only?: Record<string, unknown[]>;
  agent?: string;
  whenBusy?: WhenBusy;
  priority?: number;
  /** Bytes of a body, at most. */
  maxBytes?: number;
  /** The sender's, where it has one of its own. */
  secret?: string;
}
