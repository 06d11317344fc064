/**
 * What can go wrong with a call.
 *
 * What stays true: none of them holds a key or a presigned address. What may succeed when it is tried again was tried
 * again already.
 */
import type { Turn } from "./types.ts";

/** Every error of this client. */
export class ThreadmillError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** No answer came. Whether the request arrived is not known. */
export class ConnectionLost extends ThreadmillError {}

/** An answer that cannot be read: is there a gateway at this address? */
export class UnexpectedAnswer extends ThreadmillError {}

/** The time for waiting ran out. The turn goes on, and can be waited for again. */
export class TurnNotOver extends ThreadmillError {
  readonly turn: Turn;

  constructor(turn: Turn) {
    super(`turn ${turn.id} is ${turn.state} still`);
    this.turn = turn;
  }
}

/** The body of a problem, by RFC 9457. */
export interface ProblemFields {
  title?: string;
  detail?: string;
  field?: string;
  problem?: string;
  fix?: string;
  retryable?: boolean;
  request_id?: string;
  [name: string]: unknown;
}

/** The gateway refused a request: `status` says which kind of refusal, the rest what to change. */
export class Problem extends ThreadmillError {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** The field or parameter that is wrong, what about it, and how to mend it; undefined where none is. */
  readonly field: string | undefined;
  readonly problem: string | undefined;
  readonly fix: string | undefined;
  /** Whether the gateway says that the same request may succeed later; undefined where it does not say. */
  readonly retryable: boolean | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** How often the request was sent. */
  readonly attempts: number;
  /** The whole problem, as it came. */
  readonly fields: ProblemFields;

  constructor(status: number, fields: ProblemFields, attempts = 1, retryAfterMs?: number) {
    const title = fields.title ?? `HTTP ${status}`;
    super(`${status} ${title}${fields.detail ? `: ${fields.detail}` : ""}`);
    this.status = status;
    this.title = title;
    this.detail = fields.detail ?? "";
    this.field = fields.field;
    this.problem = fields.problem;
    this.fix = fields.fix;
    this.retryable = fields.retryable;
    this.requestId = fields.request_id;
    this.retryAfterMs = retryAfterMs;
    this.attempts = attempts;
    this.fields = fields;
  }
}
