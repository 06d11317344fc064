/** Answers as verbs read them, and files as they write them in requests. */
import { Problem } from "./errors.ts";
import { type Answer, readJson } from "./requests.ts";
import type { File, Thread, Turn } from "./types.ts";

export function threadOf(answer: Answer): Thread {
  const thread = readJson(answer) as Thread;
  const etag = answer.headers.get("etag");
  return etag === null ? thread : { ...thread, etag };
}

export function turnOf(answer: Answer): Turn {
  const body = readJson(answer) as Turn | { turn: Turn };
  return "turn" in body ? body.turn : body;
}

/** Files in a request. */
export function writeFiles(files: Pick<File, "sha256" | "filename">[] | undefined): object[] | undefined {
  return files?.map(({ sha256, filename }) => ({ sha256, filename: filename || undefined }));
}

/** Whether a refusal may come of an earlier try, which did it and whose answer was lost. */
export function isAfterLostAnswer(error: unknown, status: number): boolean {
  return error instanceof Problem && error.status === status && error.attempts > 1;
}

export function holds(stored: Thread, changes: Record<string, unknown>): boolean {
  const isSame = (kept: object) => ([name, value]: [string, unknown]) =>
    JSON.stringify((kept as Record<string, unknown>)[name] ?? null) === JSON.stringify(value);
  const { metadata, ...others } = changes;
  return Object.entries(others).every(isSame(stored)) && Object.entries(metadata ?? {}).every(isSame(stored.metadata));
}

export function hex(buffer: ArrayBuffer): string {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
