/**
 * The client of one gateway.
 *
 * What stays true: a verb that changes something is done once, however often its request is sent.
 */
import { Problem, TurnNotOver } from "./errors.ts";
import { type Answer, type Call, Gateway, idempotency, type Key, type Options, path, pause, readJson } from "./requests.ts";
import { follow, type StreamOptions } from "./stream.ts";
import type { File, Message, Page, Part, StreamToken, Thread, ThreadEvent, Turn, WhenBusy } from "./types.ts";

/** Bytes up to which a file goes through the gateway. */
const SMALL_FILE_BYTES = 1024 * 1024;
const UPLOADS_NOT_SUPPORTED = "urn:threadmill:problem:uploads-not-supported";
/** How long one request for a turn waits, at most: less than what proxies take for silence. */
const LOOK_SECONDS = 25;
/** Between the beginnings of two such requests. */
const LEAST_LOOK_MS = 1000;

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

/** A list of the gateway: iterate over all of it, or take a page. */
export class Pages<T> implements AsyncIterable<T> {
  readonly #read: (cursor?: string) => Promise<Page<T>>;

  constructor(read: (cursor?: string) => Promise<Page<T>>) {
    this.#read = read;
  }

  /** The first page, or the one that begins at the `nextCursor` of another. */
  page(cursor?: string): Promise<Page<T>> {
    return this.#read(cursor);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    let cursor: string | undefined;
    do {
      const page = await this.page(cursor);
      yield* page.items;
      cursor = page.nextCursor ?? undefined;
    } while (cursor);
  }
}

/** A client of one gateway: `new Threadmill("https://threads.example.com", key)`. */
export class Threadmill {
  readonly #gateway: Gateway;

  constructor(baseUrl: string, key: Key, options: Options = {}) {
    this.#gateway = new Gateway(baseUrl, key, options);
  }

  /** Create a thread, with an id of your own or one that is made. */
  async createThread(
    values: { id?: string; title?: string; metadata?: Record<string, unknown>; user?: string } = {},
  ): Promise<Thread> {
    return threadOf(await this.#post(path("threads"), values));
  }

  async getThread(threadId: string): Promise<Thread> {
    return threadOf(await this.#gateway.send({ method: "GET", path: path("threads", threadId) }));
  }

  /** List threads, the newest first. */
  listThreads(filter: ThreadFilter = {}): Pages<Thread> {
    const { pageSize, ...query } = filter;
    return this.#list("threads", path("threads"), { ...query, limit: pageSize });
  }

  /** Search threads for words of their messages, best first, with snippets of them. */
  searchThreads(words: string, filter: { user?: string; pageSize?: number } = {}): Pages<Thread> {
    return this.#list("threads", path("threads"), { q: words, user: filter.user, limit: filter.pageSize });
  }

  /**
   * Change a thread's title (null removes it) and the keys of its metadata that are given. With the `etag` of the
   * thread that you read, only if nobody else did.
   */
  async updateThread(
    threadId: string,
    changes: { title?: string | null; metadata?: Record<string, unknown>; agent?: string | null },
    options: { etag?: string | undefined } = {},
  ): Promise<Thread> {
    const headers: Record<string, string> = options.etag === undefined ? {} : { "If-Match": options.etag };
    try {
      const call = { method: "PATCH", path: path("threads", threadId), json: changes, headers };
      return threadOf(await this.#gateway.send(call));
    } catch (error) {
      if (!isAfterLostAnswer(error, 412)) throw error;
      const stored = await this.getThread(threadId);
      if (!holds(stored, changes)) throw error;
      return stored;
    }
  }

  /** Make a thread that begins as this one, up to the message with the `seq` of `at`. */
  async forkThread(threadId: string, values: { id?: string; at?: number } = {}): Promise<Thread> {
    return threadOf(await this.#post(path("threads", threadId, "fork"), values));
  }

  async deleteThread(threadId: string): Promise<void> {
    try {
      await this.#gateway.send({ method: "DELETE", path: path("threads", threadId) });
    } catch (error) {
      if (!isAfterLostAnswer(error, 404)) throw error;
    }
  }

  /** Send a user's message; an agent answers in the turn that is returned. One call makes one turn. */
  async sendMessage(threadId: string, content: string | Part[], options: SendOptions = {}): Promise<Turn> {
    const { attachments, notBefore, deadline, whenBusy, create, idempotencyKey, signal, ...others } = options;
    const values = {
      content,
      attachments: attachments?.map(({ sha256, filename }) => ({ sha256, filename: filename || undefined })),
      not_before: notBefore?.toISOString(),
      deadline: deadline?.toISOString(),
      when_busy: whenBusy,
      ...others,
    };
    const more = { key: idempotencyKey, signal, query: { create: create ? "true" : undefined } };
    return turnOf(await this.#post(path("threads", threadId, "messages"), values, more));
  }

  /** List a thread's messages, the oldest first or, with `desc`, the newest. */
  listMessages(threadId: string, options: { order?: "asc" | "desc"; pageSize?: number } = {}): Pages<Message> {
    const query = { order: options.order, limit: options.pageSize };
    return this.#list("messages", path("threads", threadId, "messages"), query);
  }

  async getTurn(turnId: string): Promise<Turn> {
    return turnOf(await this.#gateway.send({ method: "GET", path: path("turns", turnId) }));
  }

  /** List a thread's turns, the newest first. */
  listTurns(threadId: string, options: { pageSize?: number } = {}): Pages<Turn> {
    return this.#list("turns", path("threads", threadId, "turns"), { limit: options.pageSize });
  }

  /** Wait until a turn is over, however it ends: look at its `state`. Throws `TurnNotOver` after the timeout. */
  async waitForTurn(turnId: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Turn> {
    const endsAt = Date.now() + (options.timeoutMs ?? Infinity);
    for (;;) {
      const beganAt = Date.now();
      const wait = Math.max(0, Math.min(LOOK_SECONDS, (endsAt - beganAt) / 1000)).toFixed(3);
      const call = { path: path("turns", turnId), query: { wait }, extraMs: LOOK_SECONDS * 1000 };
      const turn = turnOf(await this.#gateway.send({ method: "GET", ...call, signal: options.signal }));
      if (["completed", "failed", "cancelled", "merged"].includes(turn.state)) return turn;
      if (Date.now() >= endsAt) throw new TurnNotOver(turn);
      // A gateway that lets nobody wait is not to be asked all the time.
      await pause(Math.min(beganAt + LEAST_LOOK_MS, endsAt) - Date.now(), options.signal);
    }
  }

  /** Ask a turn to stop. It is over when its state says so. */
  async cancelTurn(turnId: string): Promise<Turn> {
    return turnOf(await this.#post(path("turns", turnId, "cancel")));
  }

  /** Ask again for a turn that failed. */
  async requeueTurn(turnId: string, options: { agent?: string } = {}): Promise<Turn> {
    return turnOf(await this.#post(path("turns", turnId, "requeue"), options));
  }

  /** Follow one turn to its end. */
  turnEvents(turnId: string, options: StreamOptions = {}): AsyncGenerator<ThreadEvent, void, undefined> {
    return follow(this.#gateway, { path: path("turns", turnId, "events"), lastType: "turn.ended" }, options);
  }

  /** Follow a thread, from its beginning or behind an event, as `thread.last_event_id`. */
  threadEvents(threadId: string, options: StreamOptions = {}): AsyncGenerator<ThreadEvent, void, undefined> {
    return follow(this.#gateway, { path: path("threads", threadId, "events"), lastType: "thread.deleted" }, options);
  }

  /** Follow all threads of a user; a key that is bound to a user need not name it. */
  userEvents(options: StreamOptions & { user?: string } = {}): AsyncGenerator<ThreadEvent, void, undefined> {
    return follow(this.#gateway, { path: path("events"), query: { user: options.user } }, options);
  }

  /** Make a token with which a browser's `EventSource` may read this thread's events, for a short time. */
  createStreamToken(threadId: string): Promise<StreamToken> {
    return this.#gateway.json({ method: "POST", path: path("threads", threadId, "stream-tokens") });
  }

  /** Upload a file: a small one through the gateway, a large one straight to the file store. */
  async uploadFile(content: Blob, options: { filename?: string; mediaType?: string } = {}): Promise<File> {
    const filename = options.filename ?? (content as { name?: string }).name;
    if (!filename) throw new TypeError("filename is missing: a Blob has none of its own");
    const mediaType = options.mediaType || content.type || "application/octet-stream";
    // Browsers hash on pages with TLS, or of this machine, alone.
    if (content.size > SMALL_FILE_BYTES && crypto.subtle) {
      const sha256 = hex(await crypto.subtle.digest("SHA-256", await content.arrayBuffer()));
      try {
        return await this.#put(content, { filename, media_type: mediaType, size: content.size, sha256 });
      } catch (error) {
        // A store without presigned addresses, as a folder.
        if (!(error instanceof Problem && error.fields.type === UPLOADS_NOT_SUPPORTED)) throw error;
      }
    }
    const form = new FormData();
    form.append("file", new Blob([content], { type: mediaType }), filename);
    return this.#gateway.json({ method: "POST", path: path("files"), body: form, headers: idempotency() });
  }

  /** Read a file of a thread. */
  async downloadFile(threadId: string, sha256: string): Promise<ArrayBuffer> {
    const call = { method: "GET", path: path("threads", threadId, "files", sha256), mayRedirect: true };
    return (await this.#gateway.send(call)).body;
  }

  async #put(content: Blob, declared: Record<string, unknown>): Promise<File> {
    const answer = await this.#post(path("uploads"), declared);
    const upload = readJson(answer) as { id: string; url: string; method: string; headers: Record<string, string> };
    await this.#gateway.put(upload.url, upload.method, upload.headers, content);
    return readJson(await this.#post(path("uploads", upload.id, "complete"))) as File;
  }

  #post(
    where: string,
    json?: unknown,
    options: { key?: string | undefined; signal?: AbortSignal | undefined; query?: Call["query"] } = {},
  ): Promise<Answer> {
    const { key, ...more } = options;
    const call: Call = { method: "POST", path: where, headers: idempotency(key), ...more };
    return this.#gateway.send(json === undefined ? call : { ...call, json });
  }

  #list<T>(name: string, where: string, query: Call["query"]): Pages<T> {
    return new Pages<T>(async (cursor) => {
      const call = { method: "GET", path: where, query: { ...query, cursor } };
      const page = await this.#gateway.json<Record<string, unknown>>(call);
      return { items: page[name] as T[], nextCursor: (page.next_cursor as string | null | undefined) ?? null };
    });
  }
}

function threadOf(answer: Answer): Thread {
  const thread = readJson(answer) as Thread;
  const etag = answer.headers.get("etag");
  return etag === null ? thread : { ...thread, etag };
}

function turnOf(answer: Answer): Turn {
  const body = readJson(answer) as Turn | { turn: Turn };
  return "turn" in body ? body.turn : body;
}

/** Whether a refusal may come of an earlier try, which did it and whose answer was lost. */
function isAfterLostAnswer(error: unknown, status: number): boolean {
  return error instanceof Problem && error.status === status && error.attempts > 1;
}

function holds(stored: Thread, changes: { title?: string | null; metadata?: Record<string, unknown>; agent?: string | null }): boolean {
  const isTitled = changes.title === undefined || stored.title === changes.title;
  const same = ([name, value]: [string, unknown]) =>
    JSON.stringify(stored.metadata[name] ?? null) === JSON.stringify(value);
  return isTitled && Object.entries(changes.metadata ?? {}).every(same);
}

function hex(buffer: ArrayBuffer): string {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
