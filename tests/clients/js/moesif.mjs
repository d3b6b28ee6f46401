// An HTTP server behind Moesif's middleware for Node.js. It answers the calls that the test names, updates entities, and
// prints what was sent to the collector, which is seen by a server in between.

import http from 'node:http';
import moesif from 'moesif-nodejs';

const { url, key, calls, pause, updates } = JSON.parse(await new Response(process.stdin).text());

const seen = {};
let sent = 0;
const statuses = [];

async function collected(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const between = http.createServer(async (request, response) => {
  const name = `${request.method} ${request.url}`;
  seen[name] = (seen[name] ?? 0) + 1;
  const body = await collected(request);
  const onward = http.request(url + request.url, { method: request.method, headers: request.headers }, (answer) => {
    statuses.push(answer.statusCode);
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.end(body);
});
await new Promise((resolve) => between.listen(0, '127.0.0.1', resolve));

const middleware = moesif({
  applicationId: key,
  baseUri: `http://127.0.0.1:${between.address().port}`,
  batchMaxTime: 600,
  batchSize: 3,
  identifyUser: () => 'u1',
  identifyCompany: () => 'c1',
  getMetadata: () => ({ deep: { er: 1 } }),
  callback: (error, events) => {
    if (!error) sent += events.length;
  },
});
const application = http.createServer((request, response) => {
  middleware(request, response, async () => {
    const body = request.method === 'POST' ? JSON.parse(await collected(request)) : null;
    request.body = body; // where the middleware looks for it, as body parsers leave it there
    response.writeHead(request.url === '/missing' ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ got: body }));
  });
});
await new Promise((resolve) => application.listen(0, '127.0.0.1', resolve));

const base = `http://127.0.0.1:${application.address().port}`;
for (const call of calls) {
  await (await fetch(base + call.path, { method: call.method, headers: call.headers, body: call.body })).text();
  await new Promise((resolve) => setTimeout(resolve, pause));
}
while (sent < calls.length) await new Promise((resolve) => setTimeout(resolve, 20));

for (const [method, model] of updates) await middleware[method](model);
console.log(JSON.stringify({ seen, sent, statuses }));
process.exit(0);
