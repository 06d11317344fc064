/**
 * What the gateway tells of, as its JSON has it. Moments are text of RFC 3339. A newer gateway may add fields.
 */

export interface Page<T> {
  items: T[];
  /** Where the next page begins; null on the last. */
  nextCursor: string | null;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  cached_tokens: number;
  is_estimate?: boolean;
}

export interface File {
  sha256: string;
  filename: string;
  media_type: string | null;
  /** In bytes. */
  size: number | null;
}

export interface ToolCall {
  id: string;
  name: string;
  /** JSON text as the model wrote it, perhaps not valid. */
  arguments: string;
}

export type Part =
  | { type: "text"; text: string }
  | { type: "image_url"; image_url: { url: string } }
  | { type: "file"; file: { filename: string } };

export interface Message {
  id: string;
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  parts: Part[];
  tool_calls: ToolCall[];
  tool_call_id: string | null;
  name: string | null;
  reasoning: string | null;
  source: Record<string, unknown> | null;
  metadata: Record<string, unknown>;
  attachments: File[];
  usage: Usage | null;
  created_at: string;
  state: "complete" | "partial" | "truncated";
  turn_id: string | null;
  seq: number | null;
  /** Of a listed message: `threadEvents(id, { after: event_id })` goes on behind it. */
  event_id?: number;
}

export interface TurnError {
  /** A stable word, as `model_error` or `time_limit`. */
  kind: string;
  message: string;
  retryable: boolean;
  fault: string;
}

export interface Turn {
  id: string;
  thread_id: string;
  /** The branch of its thread on which it is; `main` is the first one. */
  branch: string;
  state: "queued" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "merged";
  agent: string;
  attempt: number;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  error: TurnError | null;
  usage: Usage | null;
  /** In US dollars; null where no price is known. */
  cost: number | null;
  /** Turns of the thread that come before it, while it waits. */
  position: number | null;
  /** The schedule that sent its message. */
  schedule_id: string | null;
  /** What it answered, once it is over. */
  messages: Message[] | null;
  /** The turn that answers its message with its own. */
  merged_into: string | null;
  /** The turn whose message cancelled it. */
  interrupted_by: string | null;
  /** What it asked and said is out of view. */
  rolled_back: boolean;
}

/** What becomes of a message while its thread has an unfinished turn. */
export type WhenBusy = "enqueue" | "reject" | "interrupt" | "rollback" | "merge" | "steer";

/** A tool call that waits for a decision, or got one. */
export interface PendingCall {
  turn_id: string;
  /** Its name within the turn. */
  call_id: string;
  kind: "approval" | "question" | "client_tool" | "child";
  /** The tool's. */
  name: string;
  /** As the model gave them: these are what runs. */
  arguments: unknown;
  /** SHA-256 of name and arguments: passed with a decision, it holds for these alone. */
  digest: string;
  question: string | null;
  /** The only answers that are taken; null takes any. */
  choices: unknown[] | null;
  /** JSON schema of an answer or a result. */
  schema: Record<string, unknown> | null;
  requested_at: string;
  expires_at: string;
  /** `closed` without a decision; null while it is open. */
  decision: "approve" | "deny" | "edit" | "answer" | "result" | "closed" | null;
  reason: string | null;
  decided_by: string | null;
  decided_at: string | null;
}

export interface Snippet {
  message_id: string;
  seq: number;
  role: string;
  /** The passage, with what was found between `**`. */
  highlight: string;
}

export interface Thread {
  id: string;
  title: string | null;
  user: string | null;
  metadata: Record<string, unknown>;
  /** The agent that it was handed over to; null where the default one answers. */
  agent: string | null;
  created_at: string;
  updated_at: string;
  messages: number;
  /** `threadEvents(id, { after: last_event_id })` goes on from here. */
  last_event_id: number;
  running_turn: string | null;
  /** Of its messages that do not say it; null where the agent says it. */
  when_busy: WhenBusy | null;
  /** Of a search: what was found, best first. */
  snippets?: Snippet[] | null;
  /** For `updateThread`; not in lists. */
  etag?: string;
}

/** One way that a thread went on, without its messages. */
export interface Branch {
  /** `main` for the thread's first one. */
  id: string;
  name: string | null;
  /** null for the thread's first one. */
  origin: "branch" | "regenerate" | "edit" | null;
  /** Whether the thread's id stands for it. */
  is_chosen: boolean;
  /** The branch that has the last message which it shares; null where it shares none. */
  parent: string | null;
  /** Its own messages come after this `seq`. */
  shared_to_seq: number;
  last_seq: number;
  created_at: string;
  updated_at: string;
  /** How many of its turns wait or run. */
  unfinished_turns: number;
}

/** Two branches behind what they share. */
export interface BranchComparison {
  shared_to_seq: number;
  ours: Message[];
  theirs: Message[];
}

export interface StreamToken {
  token: string;
  expires_at: string;
}

interface EventOfThread {
  thread_id: string;
  /** Its place in the thread; null for a notice, which is sent anew to each viewer that comes. */
  id: number | null;
  /** Where a stream goes on behind it: pass it as `after`. */
  cursor: string;
}

interface EventOfTurn extends EventOfThread {
  turn_id: string;
}

/** A notice: the turn waits. */
export interface TurnQueued extends EventOfTurn {
  type: "turn.queued";
  position: number;
  due_at: string | null;
  error: TurnError | null;
}

/** A notice: the turn waits for decisions, and holds no worker meanwhile. */
export interface TurnWaiting extends EventOfTurn {
  type: "turn.waiting";
  /** What is still to be decided, in the order of asking. */
  calls: PendingCall[];
}

/** A notice: a call of a turn that waits was decided, and others are not yet. */
export interface TurnDecided extends EventOfTurn {
  type: "turn.decided";
  call: PendingCall;
}

/** A worker runs the turn. From the second attempt on, drop a message that is not done. */
export interface TurnStarted extends EventOfTurn {
  type: "turn.started";
  attempt: number;
  agent: string;
}

/** A piece of a message that is being written: append it to what came of the message so far. */
export interface MessageDelta extends EventOfTurn {
  type: "message.delta";
  message_id: string;
  text: string;
}

/** The model begins the message anew: drop what came of it so far. */
export interface MessageRestarted extends EventOfTurn {
  type: "message.restarted";
  message_id: string;
}

/** A whole message. */
export interface MessageDone extends EventOfThread {
  type: "message.done";
  turn_id: string | null;
  message: Message;
}

/** A tool call of a reply begins; the tool message that answers it is its end. */
export interface ToolStarted extends EventOfTurn {
  type: "tool.started";
  message_id: string;
  call: ToolCall;
}

/** A model or tool call of an agent that another one called as a tool. */
export interface AgentStep {
  index: number;
  parent: number;
  agent: string;
  kind: "model" | "tool";
  name: string;
  state: "started" | "finished" | "failed" | "unknown";
}

/** A notice: what the agents do that a running turn's agent called as tools. */
export interface AgentSteps extends EventOfTurn {
  type: "turn.agents";
  steps: AgentStep[];
}

/** The turn is over. */
export interface TurnEnded extends EventOfTurn {
  type: "turn.ended";
  state: "completed" | "failed" | "cancelled" | "merged";
  error: TurnError | null;
  usage: Usage | null;
  cost: number | null;
  /** The turn that answers its message with its own. */
  merged_into: string | null;
  /** What it asked and said is out of view. */
  rolled_back: boolean;
}

/**
 * The thread's id stands for another branch from here on: drop what was shown behind `shared_to_seq`, and read the
 * messages anew.
 */
export interface ThreadSwitched extends EventOfThread {
  type: "thread.switched";
  turn_id: null;
  /** The id of the branch that was chosen. */
  branch: string;
  /** The `seq` up to which it shares the history of another branch; 0 for the thread's first one. */
  shared_to_seq: number;
}

/** The thread is not stored any more. */
export interface ThreadDeleted extends EventOfThread {
  type: "thread.deleted";
  turn_id: null;
}

/** An event of a kind that a newer gateway has: pass over it. */
export interface UnknownEvent extends EventOfThread {
  type: "unknown";
  /** Its type, as it came. */
  name: string;
  turn_id: string | null;
  /** All of it. */
  raw: Record<string, unknown>;
}

export type ThreadEvent =
  | TurnQueued
  | TurnWaiting
  | TurnDecided
  | TurnStarted
  | MessageDelta
  | MessageRestarted
  | MessageDone
  | ToolStarted
  | AgentSteps
  | TurnEnded
  | ThreadSwitched
  | ThreadDeleted
  | UnknownEvent;

export const KNOWN_EVENTS: ReadonlySet<string> = new Set<Exclude<ThreadEvent["type"], "unknown">>([
  "turn.queued",
  "turn.waiting",
  "turn.decided",
  "turn.started",
  "message.delta",
  "message.restarted",
  "message.done",
  "tool.started",
  "turn.agents",
  "turn.ended",
  "thread.switched",
  "thread.deleted",
]);
