// Logs what the test gives on standard input with Baselime's edge logger, one flush a group of calls, and prints what
// the client complained about and how many events it sent in each request.

import { BaselimeLogger } from '@baselime/edge-logger';

const { url, key, groups, settings } = JSON.parse(await new Response(process.stdin).text());
const complaints = [];
console.log = (...parts) => complaints.push(parts.join(' ').slice(0, 100));
console.error = console.log;

// Looks on, changes nothing.
const sent = [];
const { fetch } = globalThis;
globalThis.fetch = (target, options) => {
  sent.push(JSON.parse(options.body).length);
  return fetch(target, options);
};

const background = [];
const logger = new BaselimeLogger({
  ctx: { waitUntil: (promise) => background.push(promise) },
  apiKey: key,
  baselimeUrl: url,
  flushAfterMs: 1e9,
  ...settings,
});
for (const calls of groups) {
  for (const { level, message, data, repeat } of calls) {
    logger[level](repeat ? message.repeat(repeat) : message, data);
  }
  await logger.flush();
}
await Promise.all(background);
process.stdout.write(JSON.stringify({ sent, complaints, requestId: logger.requestId }), () => process.exit(0));
