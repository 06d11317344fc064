/**
 * Requests, and when they are sent again.
 *
 * What stays true: each try sends the same bytes under the same idempotency key, so nothing is done twice. Tries are
 * bounded, in number and in the time between them. The key goes to the gateway alone.
 */
import { ConnectionLost, Problem, type ProblemFields, UnexpectedAnswer } from "./errors.ts";

/** A key, or what gives the one to use now, as a JWT that is renewed. */
export type Key = string | (() => string | Promise<string>);

export interface Options {
  /** Milliseconds that a request may take; 30,000. */
  timeoutMs?: number;
  /** How often a request is sent again, at most; 5. */
  retries?: number;
  /** A stream that is silent for so long is dead; 30,000. */
  silenceMs?: number;
  /** How long a stream that was heard once tries to come back; 300,000. */
  patienceMs?: number;
  /** Another `fetch`. */
  fetch?: typeof fetch;
}

export interface Call {
  method: string;
  path: string;
  query?: Record<string, string | number | undefined> | undefined;
  /** Sent as JSON. */
  json?: unknown;
  body?: BodyInit;
  headers?: Record<string, string>;
  /** How long the gateway may think about it, beyond the client's own timeout. */
  extraMs?: number;
  /** Whether a redirection is followed. */
  mayRedirect?: boolean;
  /** Not repeated: its answer has what is shown once. */
  isSentOnce?: boolean;
  signal?: AbortSignal | undefined;
}

export interface Answer {
  status: number;
  headers: Headers;
  body: ArrayBuffer;
  /** How often the request was sent for it. */
  attempts: number;
}

const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** What a `Retry-After` may ask for; a longer time is the caller's to wait. */
export const LONGEST_WAIT_MS = 60_000;

/** The header under which the gateway carries a request out once, however often it comes. */
export function idempotency(key?: string): Record<string, string> {
  if (key === undefined) {
    // `randomUUID` is not there on pages without TLS.
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return { "Idempotency-Key": Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  if (!/^[ -~]+$/.test(key)) throw new TypeError("idempotencyKey has other than printable ASCII characters, or none");
  return { "Idempotency-Key": /^[\w.:@/+=-]+$/.test(key) ? key : `"${key.replace(/["\\]/g, "\\$&")}"` };
}

/** A path below the gateway's version. */
export function path(...parts: string[]): string {
  for (const part of parts) {
    if (typeof part !== "string" || ["", ".", ".."].includes(part)) throw new TypeError(`no path can have the id "${part}"`);
  }
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}

/** One gateway, as one client speaks to it. */
export class Gateway {
  readonly timeoutMs: number;
  readonly retries: number;
  readonly silenceMs: number;
  readonly patienceMs: number;
  readonly #baseUrl: string;
  readonly #key: Key;
  readonly #fetch: typeof fetch;

  constructor(baseUrl: string, key: Key, options: Options) {
    const url = new URL(baseUrl);
    if (!/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
      throw new TypeError("baseUrl is no http or https address alone: pass one as https://threads.example.com");
    }
    if (typeof key === "string") checkKey(key);
    this.#baseUrl = baseUrl.replace(/\/+$/, "");
    this.#key = key;
    this.#fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.retries = options.retries ?? 5;
    this.silenceMs = options.silenceMs ?? 30_000;
    this.patienceMs = options.patienceMs ?? 300_000;
  }

  /** Send a request until its answer stays; throws the `Problem` of a refusal. */
  async send(call: Call): Promise<Answer> {
    for (let attempts = 1; ; attempts++) {
      const outcome = await this.#try(call, attempts);
      if (!(outcome instanceof Error)) return outcome;
      const wanted = outcome instanceof Problem ? outcome.retryAfterMs : undefined;
      if (call.isSentOnce || attempts > this.retries || (wanted ?? 0) > LONGEST_WAIT_MS) throw outcome;
      const grown = Math.min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LONGEST_PAUSE_MS);
      await pause((wanted || grown / 2) + (grown / 2) * Math.random(), call.signal);
    }
  }

  /** Send a request whose answer is JSON. */
  async json<T>(call: Call): Promise<T> {
    return readJson(await this.send(call)) as T;
  }

  /** Begin a request to the gateway; its answer's body is still to come. */
  async open(call: Call, signal: AbortSignal, redirect: RequestRedirect = "manual"): Promise<Response> {
    const key = checkKey(typeof this.#key === "string" ? this.#key : await this.#key());
    const headers: Record<string, string> = { ...call.headers, Authorization: `Bearer ${key}` };
    if (call.json !== undefined) headers["Content-Type"] = "application/json";
    const stated = Object.entries(call.query ?? {}).filter(([, value]) => value !== undefined);
    const query = new URLSearchParams(stated.map(([name, value]) => [name, String(value)])).toString();
    const body = call.json === undefined ? call.body : JSON.stringify(call.json);
    return this.#fetch(`${this.#baseUrl}${call.path}${query && "?"}${query}`, {
      method: call.method,
      headers,
      signal,
      cache: "no-store",
      redirect,
      ...(body === undefined ? {} : { body }),
    });
  }

  /** Send bytes to a presigned address, which gets no key. */
  async put(address: string, method: string, headers: Record<string, string>, body: Blob): Promise<void> {
    for (let attempts = 1; ; attempts++) {
      try {
        const response = await this.#fetch(address, { method, headers, body });
        if (response.ok) return;
        throw new Problem(response.status, { title: "the file store refused the upload" }, attempts);
      } catch (error) {
        const failure = error instanceof Problem ? error : lose(error);
        if (attempts > this.retries || (failure instanceof Problem && !mayPass(failure))) throw failure;
        await pause(FIRST_PAUSE_MS * 2 ** (attempts - 1), undefined);
      }
    }
  }

  /** The answer at the place that another one points to, where it may: the key is not shown there. */
  async #resolve(call: Call, response: Response, signal: AbortSignal): Promise<Response> {
    if (!call.mayRedirect) return response;
    // A browser does not tell the place; it follows by itself, and takes the key away at another origin.
    if (response.type === "opaqueredirect") return this.open(call, signal, "follow");
    const place = response.status >= 300 && response.status < 400 && response.headers.get("location");
    return place ? this.#fetch(new URL(place, response.url), { signal }) : response;
  }

  async #try(call: Call, attempts: number): Promise<Answer | ConnectionLost | Problem> {
    const limit = new AbortController();
    const release = forward(call.signal, limit);
    const timer = setTimeout(() => limit.abort(new Error("timeout")), this.timeoutMs + (call.extraMs ?? 0));
    let answer: Answer;
    try {
      const response = await this.#resolve(call, await this.open(call, limit.signal), limit.signal);
      answer = { status: statusOf(response), headers: response.headers, body: await response.arrayBuffer(), attempts };
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof UnexpectedAnswer || isMistake(error)) throw error;
      return lose(error);
    } finally {
      clearTimeout(timer);
      release();
    }
    if (answer.status < 400) return answer;
    const failure = problemOf(answer);
    if (!mayPass(failure)) throw failure;
    return failure;
  }
}

/** The status of an answer that points nowhere else. */
export function statusOf(response: Response): number {
  if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
    throw new UnexpectedAnswer("the gateway is elsewhere; make that the baseUrl");
  }
  return response.status;
}

export function readJson(answer: Answer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(answer.body));
  } catch {
    throw new UnexpectedAnswer("the answer is no JSON: is baseUrl that of a gateway?");
  }
}

export function problemOf(answer: Answer): Problem {
  let fields: unknown;
  try {
    fields = readJson(answer);
  } catch {
    // An answer of a proxy.
  }
  const known = typeof fields === "object" && fields !== null ? (fields as ProblemFields) : {};
  return new Problem(answer.status, known, answer.attempts, readRetryAfter(answer.headers.get("retry-after")));
}

/** Whether the same request may succeed later: as the gateway says, else by the status. */
export function mayPass(failure: Problem): boolean {
  // One that is in flight under the same idempotency key, unlike one that stands in the way.
  if (failure.status === 409) return failure.retryable === true;
  return PASSING_STATUSES.has(failure.status) && failure.retryable !== false;
}

export function readRetryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  if (/^[0-9]+$/.test(value)) return Number(value) * 1000;
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? undefined : Math.max(0, moment - Date.now());
}

export function lose(error: unknown): ConnectionLost {
  return new ConnectionLost(`no answer: ${error instanceof Error ? error.message : String(error)}`);
}

/** Wait; ends early, by an error, when the caller gives up. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const giveUp = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", giveUp);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", giveUp, { once: true });
  });
}

/** Let one signal abort what another controls; returns what ends that. */
export function forward(signal: AbortSignal | undefined, controller: AbortController): () => void {
  const abort = () => controller.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  return () => signal?.removeEventListener("abort", abort);
}

class KeyMistake extends TypeError {}

/** Whether the caller has to mend it, unlike what `fetch` throws. */
export function isMistake(error: unknown): boolean {
  return error instanceof KeyMistake;
}

function checkKey(key: unknown): string {
  if (typeof key !== "string" || !/^[!-~]+$/.test(key)) {
    throw new KeyMistake("key is empty, or has white space or other letters than a key: pass it as it was shown");
  }
  return key;
}
