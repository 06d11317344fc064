/**
 * The client of one gateway.
 *
 * What stays true: a verb that changes something is done once, however often its request is sent.
 */
import { hex, holds, isAfterLostAnswer, threadOf, turnOf, writeFiles } from "./answers.ts";
import { Problem, TurnNotOver } from "./errors.ts";
import type {
  AnswerOptions,
  BranchOptions,
  DecisionOptions,
  EditOptions,
  SendOptions,
  ThreadChanges,
  ThreadFilter,
} from "./options.ts";
import { Operations } from "./operations.ts";
import type { Pages } from "./pages.ts";
import { idempotency, path, pause, readJson } from "./requests.ts";
import { follow, type StreamOptions } from "./stream.ts";
import type {
  Branch,
  BranchComparison,
  File,
  Message,
  Part,
  PendingCall,
  StreamToken,
  Thread,
  ThreadEvent,
  Turn,
} from "./types.ts";

/** Bytes up to which a file goes through the gateway. */
const SMALL_FILE_BYTES = 1024 * 1024;
const UPLOADS_NOT_SUPPORTED = "urn:threadmill:problem:uploads-not-supported";
/** How long one request for a turn waits, at most: less than what proxies take for silence. */
const LOOK_SECONDS = 25;
/** Between the beginnings of two such requests. */
const LEAST_LOOK_MS = 1000;

/** A client of one gateway: `new Threadmill("https://threads.example.com", key)`. */
export class Threadmill extends Operations {
  /** Create a thread, with an id of your own or one that is made. */
  async createThread(
    values: { id?: string; title?: string; metadata?: Record<string, unknown>; user?: string } = {},
  ): Promise<Thread> {
    return threadOf(await this.post(path("threads"), values));
  }

  async getThread(threadId: string): Promise<Thread> {
    return threadOf(await this.gateway.send({ method: "GET", path: path("threads", threadId) }));
  }

  /** List threads, the newest first. */
  listThreads(filter: ThreadFilter = {}): Pages<Thread> {
    const { pageSize, ...query } = filter;
    return this.list("threads", path("threads"), { ...query, limit: pageSize });
  }

  /** Search threads for words of their messages, best first, with snippets of them. */
  searchThreads(words: string, filter: { user?: string; pageSize?: number } = {}): Pages<Thread> {
    return this.list("threads", path("threads"), { q: words, user: filter.user, limit: filter.pageSize });
  }

  /**
   * Change a thread's title, keys of its metadata, the agent that it is handed over to, or its policy `whenBusy`. With
   * the `etag` of the thread that you read, only if nobody else did.
   */
  async updateThread(
    threadId: string,
    changes: ThreadChanges,
    options: { etag?: string | undefined } = {},
  ): Promise<Thread> {
    const { whenBusy, ...others } = changes;
    const values = whenBusy === undefined ? others : { ...others, when_busy: whenBusy };
    const headers: Record<string, string> = options.etag === undefined ? {} : { "If-Match": options.etag };
    try {
      const call = { method: "PATCH", path: path("threads", threadId), json: values, headers };
      return threadOf(await this.gateway.send(call));
    } catch (error) {
      if (!isAfterLostAnswer(error, 412)) throw error;
      const stored = await this.getThread(threadId);
      if (!holds(stored, values)) throw error;
      return stored;
    }
  }

  /** Make a thread that begins as this one, up to the message with the `seq` of `at`. */
  async forkThread(threadId: string, values: { id?: string; at?: number } = {}): Promise<Thread> {
    return threadOf(await this.post(path("threads", threadId, "fork"), values));
  }

  async deleteThread(threadId: string): Promise<void> {
    await this.delete(path("threads", threadId));
  }

  /** Send a user's message; an agent answers in the turn that is returned. One call makes one turn. */
  async sendMessage(threadId: string, content: string | Part[], options: SendOptions = {}): Promise<Turn> {
    const { attachments, notBefore, deadline, whenBusy, mergeWindow, ...others } = options;
    const { branch, create, idempotencyKey, signal, ...same } = others;
    const values = {
      content,
      attachments: writeFiles(attachments),
      not_before: notBefore?.toISOString(),
      deadline: deadline?.toISOString(),
      when_busy: whenBusy,
      merge_window: mergeWindow,
      ...same,
    };
    const more = { key: idempotencyKey, signal, query: { create: create ? "true" : undefined, branch } };
    return turnOf(await this.post(path("threads", threadId, "messages"), values, more));
  }

  /** List a thread's messages, the oldest first or, with `desc`, the newest. */
  listMessages(
    threadId: string,
    options: { order?: "asc" | "desc"; branch?: string; pageSize?: number } = {},
  ): Pages<Message> {
    const query = { order: options.order, branch: options.branch, limit: options.pageSize };
    return this.list("messages", path("threads", threadId, "messages"), query);
  }

  async getTurn(turnId: string): Promise<Turn> {
    return turnOf(await this.gateway.send({ method: "GET", path: path("turns", turnId) }));
  }

  /** List a thread's turns, the newest first. */
  listTurns(threadId: string, options: { pageSize?: number } = {}): Pages<Turn> {
    return this.list("turns", path("threads", threadId, "turns"), { limit: options.pageSize });
  }

  /** Wait until a turn is over, however it ends: look at its `state`. Throws `TurnNotOver` after the timeout. */
  async waitForTurn(turnId: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Turn> {
    const endsAt = Date.now() + (options.timeoutMs ?? Infinity);
    for (;;) {
      const beganAt = Date.now();
      const wait = Math.max(0, Math.min(LOOK_SECONDS, (endsAt - beganAt) / 1000)).toFixed(3);
      const call = { path: path("turns", turnId), query: { wait }, extraMs: LOOK_SECONDS * 1000 };
      const turn = turnOf(await this.gateway.send({ method: "GET", ...call, signal: options.signal }));
      if (["completed", "failed", "cancelled", "merged"].includes(turn.state)) return turn;
      if (Date.now() >= endsAt) throw new TurnNotOver(turn);
      // A gateway that lets nobody wait is not to be asked all the time.
      await pause(Math.min(beganAt + LEAST_LOOK_MS, endsAt) - Date.now(), options.signal);
    }
  }

  /** Ask a turn to stop. It is over when its state says so. */
  async cancelTurn(turnId: string): Promise<Turn> {
    return turnOf(await this.post(path("turns", turnId, "cancel")));
  }

  /** Ask again for a turn that failed. */
  async requeueTurn(turnId: string, options: { agent?: string } = {}): Promise<Turn> {
    return turnOf(await this.post(path("turns", turnId, "requeue"), options));
  }

  /** List what turns wait for, the oldest first. */
  listPending(filter: { user?: string; pageSize?: number } = {}): Pages<PendingCall> {
    return this.list("pending", path("pending"), { user: filter.user, limit: filter.pageSize });
  }

  /** Read what a turn waits for, with the arguments that would run. */
  async readPending(turnId: string): Promise<PendingCall[]> {
    const call = { method: "GET", path: path("turns", turnId, "pending") };
    return (await this.gateway.json<{ pending: PendingCall[] }>(call)).pending;
  }

  /** Have a call run as it was shown. */
  approveCall(turnId: string, callId: string, options: DecisionOptions = {}): Promise<PendingCall> {
    return this.#decide(turnId, callId, { decision: "approve", ...options });
  }

  /** Have a call not run, or a question not answered; the model reads the reason. */
  denyCall(turnId: string, callId: string, reason?: string, options: DecisionOptions = {}): Promise<PendingCall> {
    return this.#decide(turnId, callId, { decision: "deny", reason, ...options });
  }

  /** Have a call run with other arguments: all that it has. */
  editCall(
    turnId: string,
    callId: string,
    args: Record<string, unknown>,
    options: DecisionOptions = {},
  ): Promise<PendingCall> {
    return this.#decide(turnId, callId, { decision: "edit", arguments: args, ...options });
  }

  /** Answer a question, with one of its choices if it has any. */
  answerCall(turnId: string, callId: string, value: unknown, options: DecisionOptions = {}): Promise<PendingCall> {
    return this.#decide(turnId, callId, { decision: "answer", value, ...options });
  }

  /** Give what a tool returned that you run yourself, as any JSON value. */
  giveResult(turnId: string, callId: string, content: unknown, options: DecisionOptions = {}): Promise<PendingCall> {
    return this.#decide(turnId, callId, { decision: "result", content, ...options });
  }

  /** Have the last question answered once more, on a branch of its own, which is chosen. */
  async regenerate(threadId: string, options: AnswerOptions = {}): Promise<Turn> {
    const { branch, idempotencyKey, ...values } = options;
    const more = { key: idempotencyKey, query: { branch } };
    return turnOf(await this.post(path("threads", threadId, "regenerate"), values, more));
  }

  /** Send another message in the place of a user's, on a branch from before it, which is chosen. */
  async editMessage(
    threadId: string,
    messageId: string,
    content: string | Part[],
    options: EditOptions = {},
  ): Promise<Turn> {
    const { attachments, branch, idempotencyKey, ...others } = options;
    const values = { content, attachments: writeFiles(attachments), ...others };
    const more = { key: idempotencyKey, query: { branch } };
    return turnOf(await this.post(path("threads", threadId, "messages", messageId, "edit"), values, more));
  }

  /** Read the branches of a thread, the oldest first. */
  async listBranches(threadId: string): Promise<Branch[]> {
    const call = { method: "GET", path: path("threads", threadId, "branches") };
    return (await this.gateway.json<{ branches: Branch[] }>(call)).branches;
  }

  /** Make a branch behind a message; it is not chosen by this. */
  async makeBranch(threadId: string, options: BranchOptions = {}): Promise<Branch> {
    const { at, name, branch } = options;
    const values = typeof at === "string" ? { name, at_message: at } : { name, at };
    return readJson(await this.post(path("threads", threadId, "branches"), values, { query: { branch } })) as Branch;
  }

  /** Give a branch a name, or with null, none. */
  renameBranch(threadId: string, branch: string, name: string | null): Promise<Branch> {
    return this.gateway.json({ method: "PATCH", path: path("threads", threadId, "branches", branch), json: { name } });
  }

  /** Have the thread's id stand for a branch. Those who follow the thread get `thread.switched`. */
  async chooseBranch(threadId: string, branch: string): Promise<Branch> {
    return readJson(await this.post(path("threads", threadId, "branches", branch, "choose"))) as Branch;
  }

  /** Read what two branches have behind what they share: 200 messages of each at most. */
  compareBranches(threadId: string, ours: string, theirs: string): Promise<BranchComparison> {
    const where = path("threads", threadId, "branches", ours, "compare");
    return this.gateway.json({ method: "GET", path: where, query: { with: theirs } });
  }

  /** Delete a branch that is not chosen; what others share of it stays. */
  deleteBranch(threadId: string, branch: string): Promise<void> {
    return this.delete(path("threads", threadId, "branches", branch));
  }

  /** Follow one turn to its end. */
  turnEvents(turnId: string, options: StreamOptions = {}): AsyncGenerator<ThreadEvent, void, undefined> {
    return follow(this.gateway, { path: path("turns", turnId, "events"), lastType: "turn.ended" }, options);
  }

  /** Follow a thread, from its beginning or behind an event, as `thread.last_event_id`. */
  threadEvents(
    threadId: string,
    options: StreamOptions & { branch?: string } = {},
  ): AsyncGenerator<ThreadEvent, void, undefined> {
    const feed = { path: path("threads", threadId, "events"), query: { branch: options.branch } };
    return follow(this.gateway, { ...feed, lastType: "thread.deleted" }, options);
  }

  /** Follow all threads of a user; a key that is bound to a user need not name it. */
  userEvents(options: StreamOptions & { user?: string } = {}): AsyncGenerator<ThreadEvent, void, undefined> {
    return follow(this.gateway, { path: path("events"), query: { user: options.user } }, options);
  }

  /** Make a token with which a browser's `EventSource` may read this thread's events, for a short time. */
  createStreamToken(threadId: string): Promise<StreamToken> {
    return this.gateway.json({ method: "POST", path: path("threads", threadId, "stream-tokens") });
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
    return this.gateway.json({ method: "POST", path: path("files"), body: form, headers: idempotency() });
  }

  /** Read a file of a thread. */
  async downloadFile(threadId: string, sha256: string): Promise<ArrayBuffer> {
    const call = { method: "GET", path: path("threads", threadId, "files", sha256), mayRedirect: true };
    return (await this.gateway.send(call)).body;
  }

  async #put(content: Blob, declared: Record<string, unknown>): Promise<File> {
    const answer = await this.post(path("uploads"), declared);
    const upload = readJson(answer) as { id: string; url: string; method: string; headers: Record<string, string> };
    await this.gateway.put(upload.url, upload.method, upload.headers, content);
    return readJson(await this.post(path("uploads", upload.id, "complete"))) as File;
  }

  async #decide(turnId: string, callId: string, decision: Record<string, unknown>): Promise<PendingCall> {
    const answer = await this.post(path("turns", turnId, "pending", callId), decision);
    return (readJson(answer) as { call: PendingCall }).call;
  }
}
