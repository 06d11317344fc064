// Verifies a request with the package of Standard Webhooks: reads it as JSON, and says what came of it.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secret, body, headers } = JSON.parse(readFileSync(0, "utf-8"));
const verifier = new Webhook(secret);
const event = verifier.verify(body, headers);
let forged = "taken";
try {
  verifier.verify(body.replace("turn.completed", "turn.failed"), headers);
} catch {
  forged = "refused";
}
console.log(JSON.stringify({ type: event.type, forged }));
