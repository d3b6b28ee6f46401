/** What sends events, with the lines that point it at this server. */

export interface Target {
  /** such as https://logs.example.com */
  url: string;
  token: string;
  dataset: string;
}

export interface Client {
  id: string;
  name: string;
  /** of the lines */
  language: string;
  lines: (target: Target) => string;
}

const host = ({ url }: Target) => new URL(url).host;

export const CLIENTS: Client[] = [
  {
    id: "curl",
    name: "curl",
    language: "shell",
    lines: ({ url, token, dataset }) => `curl -sS ${url}/v1/datasets/${encodeURIComponent(dataset)}/ingest \\
  -H 'Authorization: Bearer ${token}' \\
  -H 'Content-Type: application/json' \\
  -d '[{"level": "info", "message": "hello from curl"}]'`,
  },
  {
    id: "axiom-js",
    name: "Axiom, JavaScript",
    language: "js",
    lines: ({ url, token, dataset }) => `import { Axiom } from "@axiomhq/js";

const axiom = new Axiom({ token: "${token}", url: "${url}" });
axiom.ingest("${dataset}", [{ level: "info", message: "hello from JavaScript" }]);
await axiom.flush();`,
  },
  {
    id: "axiom-py",
    name: "Axiom, Python",
    language: "python",
    lines: ({ url, token, dataset }) => `import axiom_py

client = axiom_py.Client(token="${token}", url="${url}")
client.ingest_events("${dataset}", [{"level": "info", "message": "hello from Python"}])`,
  },
  {
    id: "otel",
    name: "OpenTelemetry SDK",
    language: "shell",
    lines: ({ url, token, dataset }) => `export OTEL_EXPORTER_OTLP_ENDPOINT=${url}
export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf
export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer ${token},X-Axiom-Dataset=${dataset}"`,
  },
  {
    id: "collector",
    name: "OpenTelemetry Collector",
    language: "yaml",
    lines: ({ url, token, dataset }) => `exporters:
  otlphttp:
    endpoint: ${url}
    compression: gzip
    headers:
      authorization: Bearer ${token}
      x-axiom-dataset: ${dataset}

service:
  pipelines:
    logs: { receivers: [otlp], exporters: [otlphttp] }
    traces: { receivers: [otlp], exporters: [otlphttp] }`,
  },
  {
    id: "vector",
    name: "Vector",
    language: "toml",
    lines: ({ url, token, dataset }) => `[sinks.tailrace]
type = "http"
inputs = ["my_source"]
uri = "${url}/v1/datasets/${encodeURIComponent(dataset)}/ingest"
method = "post"
compression = "gzip"
encoding.codec = "json"
framing.method = "newline_delimited"
request.headers.Authorization = "Bearer ${token}"
request.headers.Content-Type = "application/x-ndjson"`,
  },
  {
    id: "fluent-bit",
    name: "Fluent Bit",
    language: "ini",
    lines: (target) => `[OUTPUT]
    Name              http
    Match             *
    Host              ${host(target).split(":")[0]}
    Port              ${new URL(target.url).port || (target.url.startsWith("https") ? 443 : 80)}
    URI               /v1/datasets/${encodeURIComponent(target.dataset)}/ingest
    Format            json_lines
    Json_Date_Key     _time
    Json_Date_Format  iso8601
    Header            Authorization Bearer ${target.token}
    Header            Content-Type application/x-ndjson
    tls               ${target.url.startsWith("https") ? "On" : "Off"}`,
  },
  {
    id: "elastic",
    name: "Elastic clients, Filebeat",
    language: "yaml",
    lines: ({ url, token, dataset }) => `output.elasticsearch:
  hosts: ["${url}"]
  api_key: "axiom:${token}"
  index: "${dataset}"
  allow_older_versions: true
setup.template.enabled: false
setup.ilm.enabled: false`,
  },
  {
    id: "loki",
    name: "Loki, Promtail",
    language: "yaml",
    lines: ({ url, token, dataset }) => `clients:
  - url: ${url}/loki/api/v1/push
    bearer_token: ${token}
    external_labels:
      dataset: ${dataset}`,
  },
  {
    id: "splunk",
    name: "Splunk HEC",
    language: "shell",
    lines: ({ url, token, dataset }) => `curl -sS ${url}/services/collector/event \\
  -H 'Authorization: Splunk ${token}' \\
  -d '{"index": "${dataset}", "event": {"level": "info", "message": "hello from HEC"}}'`,
  },
  {
    id: "honeycomb",
    name: "Honeycomb",
    language: "js",
    lines: ({ url, token, dataset }) => `import Libhoney from "libhoney";

const honey = new Libhoney({ writeKey: "${token}", dataset: "${dataset}", apiHost: "${url}" });
honey.sendNow({ level: "info", message: "hello from libhoney" });`,
  },
  {
    id: "datadog",
    name: "Datadog logs",
    language: "shell",
    lines: ({ url, token, dataset }) => `curl -sS ${url}/api/v2/logs \\
  -H 'DD-API-KEY: ${token}' \\
  -H 'X-Axiom-Dataset: ${dataset}' \\
  -H 'Content-Type: application/json' \\
  -d '[{"message": "hello from Datadog", "status": "info", "service": "web"}]'`,
  },
];
