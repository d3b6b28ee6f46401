// Sends a trace, log records and metrics with OpenTelemetry's SDK for JavaScript: traces and metrics in protobuf, logs in
// JSON. Prints the ids of the spans and what the exporters complained about.

import { readFileSync } from 'node:fs';
import { DiagLogLevel, SpanKind, SpanStatusCode, context, diag, trace } from '@opentelemetry/api';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';

const task = JSON.parse(readFileSync(0, 'utf8'));
const complaints = [];
const complain = (...words) => complaints.push(words.join(' '));
diag.setLogger({ error: complain, warn: complain, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);

const resource = resourceFromAttributes({ 'service.name': 'shop', 'host.name': 'web-1', team: 'a' });
const exporter = (signal) => ({
  url: `${task.url}/v1/${signal}`,
  headers: { Authorization: `Bearer ${task.token}`, 'X-Axiom-Dataset': task[signal] },
  compression: 'gzip',
});

const tracing = new BasicTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(exporter('traces')))],
});
const tracer = tracing.getTracer('js-test', '1.2.3');
const root = tracer.startSpan('GET /', { kind: SpanKind.SERVER, attributes: { 'http.request.method': 'GET', cart: 3 } });
const child = tracer.startSpan('query', { kind: SpanKind.CLIENT }, trace.setSpan(context.active(), root));
child.recordException(new Error('no answer'));
child.setStatus({ code: SpanStatusCode.ERROR, message: 'no answer' });
child.end();
root.end();

const logging = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(exporter('logs')) })],
});
const logger = logging.getLogger('js-test');
logger.emit({ severityNumber: 17, severityText: 'ERROR', body: 'broken ü', attributes: { list: [1, 'x', true] } });
logger.emit({ severityNumber: 9, body: { nested: { n: 1.5 } } });

const metering = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(exporter('metrics')) })],
});
const meter = metering.getMeter('js-test');
meter.createCounter('requests', { unit: '{request}' }).add(7, { 'http.route': '/' });
const took = meter.createHistogram('took', { unit: 's' });
took.record(0.25);
took.record(90);

for (const provider of [tracing, logging, metering]) {
  await provider.forceFlush();
  await provider.shutdown();
}
const { traceId, spanId } = root.spanContext();
console.log(JSON.stringify({ traceId, root: spanId, child: child.spanContext().spanId, complaints }));
