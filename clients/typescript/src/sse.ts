/**
 * Server-sent events, as the WHATWG's standard has them, out of chunks of bytes.
 *
 * What stays true: how the bytes are cut into chunks changes nothing, also within a character or a CRLF. An event
 * whose empty line did not come is none, and leaves no trace: not its id either.
 */

export interface ServerSentEvent {
  name: string;
  data: string;
  /** Of the last event that had one, this one included. */
  lastEventId: string;
}

/** What a server may ask for between two connections; what is longer is taken for this. */
const RETRY_MAX_MS = 60_000;

export class EventStreamParser {
  lastEventId: string;
  /** What the server asked for between two connections; undefined before it did. */
  retryMs: number | undefined;
  // The decoder takes the mark of order away itself.
  #decoder = new TextDecoder();
  #isAfterReturn = false;
  #begun = "";
  #name = "";
  #data: string[] = [];
  #id: string;

  constructor(lastEventId = "") {
    this.lastEventId = lastEventId;
    this.#id = lastEventId;
  }

  /** Take a chunk; gives the events that it completes. */
  *feed(chunk: Uint8Array): Generator<ServerSentEvent> {
    for (const line of this.#lines(this.#decoder.decode(chunk, { stream: true }))) {
      if (line) {
        this.#takeField(line);
        continue;
      }
      const event = this.#dispatch();
      if (event) yield event;
    }
  }

  *#lines(text: string): Generator<string> {
    if (!text) return;
    // A return ends its line at once; where a line feed comes after it, that belongs to it.
    if (this.#isAfterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#isAfterReturn = text ? text.endsWith("\r") : false;
    const [first = "", ...others] = text.split(/\r\n|\n|\r/);
    this.#begun += first;
    for (const line of others) {
      yield this.#begun;
      this.#begun = line;
    }
  }

  #takeField(line: string): void {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.retryMs = Math.min(Number(value), RETRY_MAX_MS);
  }

  #dispatch(): ServerSentEvent | undefined {
    this.lastEventId = this.#id;
    const event = { name: this.#name || "message", data: this.#data.join("\n"), lastEventId: this.#id };
    const hasData = this.#data.length > 0;
    this.#name = "";
    this.#data = [];
    return hasData ? event : undefined;
  }
}
