// Sends with splunk-logging, in batches and one by one, and prints what its callbacks were told.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const { Logger } = createRequire(import.meta.url)("splunk-logging");
const task = JSON.parse(await text(process.stdin));
const told = [];

function logger(options) {
  const made = new Logger({ token: task.token, url: task.url, ...options });
  made.error = (error) => told.push({ error: error.message, code: error.code ?? null });
  return made;
}

function sent(send) {
  return new Promise((resolve) => send((error, response, body) => resolve({ status: response?.statusCode, body })));
}

const batch = logger({ maxBatchCount: 0 });
for (const context of task.batch) batch.send(context);
told.push(await sent((callback) => batch.flush(callback)));
const single = logger({});
told.push(await sent((callback) => single.send(task.single, callback)));
const stranger = logger({ token: "none" });
told.push(await sent((callback) => stranger.send(task.single, callback)));
const lost = logger({});
told.push(await sent((callback) => lost.send(task.lost, callback)));
console.log(JSON.stringify(told));
