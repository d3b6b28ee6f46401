// Makes a span with Baselime's OpenTelemetry SDK for Node.js, and prints what the collector answered.

const fs = require('node:fs');
const http = require('node:http');

const { url, key } = JSON.parse(fs.readFileSync(0, 'utf8'));

// Looks on, changes nothing.
const answers = [];
const { request } = http;
http.request = (...parameters) => {
  const made = request(...parameters);
  made.on('response', (answer) => answers.push(answer.statusCode));
  return made;
};

const { BaselimeSDK } = require('@baselime/node-opentelemetry');
const { trace, SpanStatusCode } = require('@opentelemetry/api');

const provider = new BaselimeSDK({ collectorUrl: url, baselimeKey: key, serverless: true, service: 'svc' }).start();
const span = trace.getTracer('tests').startSpan('s1', { attributes: { a: 1, b: 'x', c: [true], d: 0.5 } });
span.addEvent('happened', { k: 'v' });
span.setStatus({ code: SpanStatusCode.ERROR, message: 'bad' });
span.end();
const { traceId, spanId } = span.spanContext();
provider.forceFlush().then(() => {
  process.stdout.write(JSON.stringify({ answers, traceId, spanId }), () => process.exit(0));
});
