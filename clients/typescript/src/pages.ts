/** Lists, a page at a time. */
import type { Page } from "./types.ts";

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
