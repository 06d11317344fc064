/**
 * Streams of events, which go on by themselves after each cut.
 *
 * What stays true: each event is given once and in order. A stream that was cut is asked for again behind the last
 * event that was given; what comes twice all the same is passed over. It ends where nothing follows.
 */
import { ConnectionLost, Problem, UnexpectedAnswer } from "./errors.ts";
import { forward, type Gateway, isMistake, LONGEST_WAIT_MS, lose, mayPass, pause, problemOf, statusOf } from "./requests.ts";
import { EventStreamParser, type ServerSentEvent } from "./sse.ts";
import { KNOWN_EVENTS, type ThreadEvent } from "./types.ts";

export interface StreamOptions {
  /** The `cursor` or `id` of the last event that is known; all there are without it. */
  after?: number | string;
  /** Ends the stream. */
  signal?: AbortSignal;
}

/** One stream of the gateway. */
export interface Feed {
  path: string;
  query?: Record<string, string | undefined>;
  /** The type of event after which nothing follows. */
  lastType?: ThreadEvent["type"];
}

const RECONNECTION_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** The events of a stream, over all of its connections. */
export async function* follow(
  gateway: Gateway,
  feed: Feed,
  options: StreamOptions,
): AsyncGenerator<ThreadEvent, void, undefined> {
  const follower = new Follower(gateway, feed, options.after);
  while (!follower.isOver) {
    let failure: ConnectionLost | Problem | undefined;
    try {
      for await (const chunk of connect(gateway, feed, follower, options.signal)) {
        yield* follower.take(chunk);
        if (follower.isOver) return;
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof UnexpectedAnswer || isMistake(error)) throw error;
      if (error instanceof Problem && !mayPass(error)) throw error;
      failure = error instanceof Problem ? error : lose(error);
    }
    if (!follower.isOver) await pause(follower.pauseMs(failure), options.signal);
  }
}

/** The bytes of one connection, to its end, or until it is silent for too long. */
async function* connect(
  gateway: Gateway,
  feed: Feed,
  follower: Follower,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const connection = new AbortController();
  const release = forward(signal, connection);
  const silence = () => setTimeout(() => connection.abort(new Error("the stream is silent")), gateway.silenceMs);
  let timer = silence();
  try {
    const call = { method: "GET", path: feed.path, query: feed.query ?? {}, headers: follower.headers() };
    const response = await gateway.open(call, connection.signal);
    if (!follower.open(statusOf(response), response.headers.get("content-type") ?? "")) {
      if (response.status === 204) return;
      const body = await response.arrayBuffer();
      throw problemOf({ status: response.status, headers: response.headers, body, attempts: follower.attempts });
    }
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      clearTimeout(timer);
      if (done) return;
      yield value;
      timer = silence();
    }
  } finally {
    clearTimeout(timer);
    release();
    connection.abort();
  }
}

/** The state of one stream over all of its connections. */
class Follower {
  isOver = false;
  #cursor: string;
  #parser: EventStreamParser;
  #reconnectionMs = RECONNECTION_MS;
  /** Tries since bytes came last, and when that was; undefined before any came. */
  #failures = 0;
  #heardAt: number | undefined;
  /** Of each thread the number of its last event, and of each turn the notice that it was given last. */
  readonly #numbers = new Map<string, number>();
  readonly #notices = new Map<string | null, string>();
  readonly #gateway: Gateway;
  readonly #lastType: string | undefined;

  constructor(gateway: Gateway, feed: Feed, after: number | string | undefined) {
    this.#gateway = gateway;
    this.#lastType = feed.lastType;
    this.#cursor = after ? String(after) : "";
    this.#parser = new EventStreamParser(this.#cursor);
  }

  /** How often it was asked for since bytes came last. */
  get attempts(): number {
    return this.#failures + 1;
  }

  headers(): Record<string, string> {
    const last: Record<string, string> = this.#cursor ? { "Last-Event-ID": this.#cursor } : {};
    return { Accept: "text/event-stream", ...last };
  }

  /** Take an answer's head; returns whether events follow. */
  open(status: number, mediaType: string): boolean {
    this.#parser = new EventStreamParser(this.#cursor);
    this.isOver = status === 204;
    if (status !== 200) return false;
    if (!mediaType.startsWith("text/event-stream")) {
      throw new UnexpectedAnswer(`the answer is ${mediaType || "nothing"}, no stream: is baseUrl that of a gateway?`);
    }
    return true;
  }

  /** Take bytes; gives the events that they complete. */
  *take(chunk: Uint8Array): Generator<ThreadEvent, void, undefined> {
    this.#failures = 0;
    this.#heardAt = Date.now();
    for (const sent of this.#parser.feed(chunk)) {
      const event = read(sent);
      if (!this.#isRepetition(event)) {
        this.#cursor = sent.lastEventId;
        this.#remember(event);
        yield event;
      }
      if (this.isOver) return;
    }
    this.#cursor = this.#parser.lastEventId;
    this.#reconnectionMs = this.#parser.retryMs ?? this.#reconnectionMs;
  }

  /** How long to wait before the next connection; throws the failure of the last one when it is time to give up. */
  pauseMs(failure: ConnectionLost | Problem | undefined): number {
    this.#failures += 1;
    const wanted = (failure instanceof Problem && failure.retryAfterMs) || 0;
    const isHopeless =
      this.#heardAt === undefined
        ? this.#failures > this.#gateway.retries
        : Date.now() - this.#heardAt > this.#gateway.patienceMs;
    if (isHopeless || wanted > LONGEST_WAIT_MS) {
      throw failure ?? new ConnectionLost("the stream ended as soon as it began");
    }
    const first = this.#reconnectionMs;
    const grown = Math.min(first * 2 ** Math.min(this.#failures - 1, 10), Math.max(first, LONGEST_PAUSE_MS));
    return Math.max(grown, wanted) + (grown / 2) * Math.random();
  }

  #isRepetition(event: ThreadEvent): boolean {
    if (event.id === null) return this.#notices.get(event.turn_id) === comparable(event);
    return event.id <= (this.#numbers.get(event.thread_id) ?? -1);
  }

  #remember(event: ThreadEvent): void {
    if (event.id === null) {
      this.#notices.set(event.turn_id, comparable(event));
    } else {
      this.#numbers.set(event.thread_id, event.id);
      this.#notices.delete(event.turn_id);
    }
    // Another thread may be made with the id, and counts from the beginning.
    if (event.type === "thread.deleted") this.#numbers.delete(event.thread_id);
    this.isOver = event.type === this.#lastType;
  }
}

function comparable(event: ThreadEvent): string {
  return JSON.stringify({ ...event, cursor: "" });
}

function read(sent: ServerSentEvent): ThreadEvent {
  let value: unknown;
  try {
    value = JSON.parse(sent.data);
  } catch {
    // Told below.
  }
  if (typeof value !== "object" || value === null) throw new UnexpectedAnswer(`an event "${sent.name}" has no JSON`);
  const raw = { type: sent.name, ...value } as Record<string, unknown>;
  const own = { thread_id: "", turn_id: null, ...raw, cursor: sent.lastEventId };
  const id = typeof raw.id === "number" ? raw.id : null;
  if (KNOWN_EVENTS.has(String(raw.type))) return { ...own, id } as ThreadEvent;
  const { thread_id, turn_id, cursor } = own as unknown as { thread_id: string; turn_id: string | null; cursor: string };
  return { type: "unknown", name: String(raw.type), thread_id, turn_id, cursor, id, raw };
}
