// Reads a stream with npm's `eventsource`, until the server says that nothing follows; prints the ids in their order.
import { EventSource } from "eventsource";

const [address, key] = process.argv.slice(2);
const source = new EventSource(address, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: key } }),
});
const ids = [];
// Between two connections nothing else keeps Node.js running.
const waiting = setInterval(() => {}, 1000);
for (const type of ["turn.queued", "message.delta", "turn.ended"]) {
  source.addEventListener(type, (event) => ids.push([type, event.lastEventId, JSON.parse(event.data).text ?? null]));
}
source.addEventListener("error", () => {
  if (source.readyState !== EventSource.CLOSED) return;
  console.log(JSON.stringify(ids));
  clearInterval(waiting);
});
