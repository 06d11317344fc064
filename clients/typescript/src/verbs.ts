/** What the verbs of a client are made of: one gateway, and the requests that they share. */
import { isAfterLostAnswer } from "./answers.ts";
import { Pages } from "./pages.ts";
import { type Answer, type Call, Gateway, idempotency, type Key, type Options } from "./requests.ts";

export class Verbs {
  protected readonly gateway: Gateway;

  constructor(baseUrl: string, key: Key, options: Options = {}) {
    this.gateway = new Gateway(baseUrl, key, options);
  }

  protected async delete(where: string): Promise<void> {
    try {
      await this.gateway.send({ method: "DELETE", path: where });
    } catch (error) {
      if (!isAfterLostAnswer(error, 404)) throw error;
    }
  }

  protected post(
    where: string,
    json?: unknown,
    options: { key?: string | undefined; signal?: AbortSignal | undefined; query?: Call["query"] } = {},
  ): Promise<Answer> {
    const { key, ...more } = options;
    const call: Call = { method: "POST", path: where, headers: idempotency(key), ...more };
    return this.gateway.send(json === undefined ? call : { ...call, json });
  }

  protected list<T>(name: string, where: string, query: Call["query"]): Pages<T> {
    return new Pages<T>(async (cursor) => {
      const call = { method: "GET", path: where, query: { ...query, cursor } };
      const page = await this.gateway.json<Record<string, unknown>>(call);
      return { items: page[name] as T[], nextCursor: (page.next_cursor as string | null | undefined) ?? null };
    });
  }
}
