/** A client of Threadmill's HTTP gateway, on `fetch`: for browsers and Node.js. */
export { Threadmill } from "./client.ts";
export { ConnectionLost, Problem, type ProblemFields, ThreadmillError, TurnNotOver, UnexpectedAnswer } from "./errors.ts";
export type * from "./operation_types.ts";
export type * from "./options.ts";
export { Pages } from "./pages.ts";
export type { Key, Options } from "./requests.ts";
export { EventStreamParser, type ServerSentEvent } from "./sse.ts";
export type { StreamOptions } from "./stream.ts";
export type * from "./types.ts";
