// Sends with libhoney, and prints what its callback was told.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const Libhoney = createRequire(import.meta.url)("libhoney");
const task = JSON.parse(await text(process.stdin));
const told = [];

async function send(options, events) {
  const hny = new Libhoney({
    apiHost: task.url,
    writeKey: task.token,
    responseCallback: (responses) => {
      for (const each of responses) told.push({ status: each.status_code ?? null, failed: Boolean(each.error) });
    },
    ...options,
  });
  for (const each of events) {
    const event = hny.newEvent();
    event.add(each.data);
    event.timestamp = each.time;
    event.sampleRate = each.samplerate;
    event.sendPresampled();
  }
  await hny.flush();
}

await send({ dataset: task.dataset }, task.events);
await send({ dataset: encodeURIComponent(task.spaced) }, task.events.slice(0, 1));
await send({ dataset: task.dataset, writeKey: "none" }, task.events.slice(0, 1));
console.log(JSON.stringify(told));
