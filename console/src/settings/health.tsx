/** Health: whether the server takes and answers, what it has done, and what it refused and why. */
import { useEffect } from "preact/hooks";
import { ApiError, ask, send } from "../api/http";
import { ago, bytes, compact, count } from "../format/values";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { parseMetrics, type Sample, sumBy } from "./metrics";

const EVERY_MS = 5000;

interface Refusal {
  time: string;
  first: string;
  count: number;
  method: string;
  path: string;
  status: number;
  reason: string;
  message: string;
  protocol: string;
  events: number;
  address: string;
  userAgent: string;
}

interface Health {
  ready: string;
  samples: Sample[];
  refusals: Refusal[];
}

async function load(): Promise<Health> {
  const [ready, metrics, refusals] = await Promise.all([
    readiness(),
    send("/metrics").then((response) => response.text()),
    ask<Refusal[]>("/tailrace/v1/refusals"),
  ]);
  return { ready, samples: parseMetrics(metrics), refusals };
}

async function readiness(): Promise<string> {
  try {
    const { status, degraded = [] } = await ask<{ status: string; degraded?: string[] }>("/readyz");
    return status === "ok" ? "" : `Some of it cannot be used: ${degraded.join(", ")}`;
  } catch (error) {
    if (error instanceof ApiError) return error.message;
    throw error;
  }
}

export function HealthSettings() {
  const health = useLoaded(load, []);
  const { reload } = health;
  useEffect(() => {
    const timer = setTimeout(reload, EVERY_MS);
    return () => clearTimeout(timer);
  });
  return (
    <Shown of={health}>
      {({ ready, samples, refusals }) => (
        <>
          <p class={ready ? "notice error" : "notice good"} role="status">
            {ready || "The server takes events and answers queries."}
          </p>
          <Tiles samples={samples} />
          <h2>Events by door</h2>
          <Doors samples={samples} />
          <h2>Refused lately</h2>
          <Records
            records={refusals}
            id={(each) => `${each.method} ${each.path} ${each.reason} ${each.address} ${each.userAgent}`}
            empty="Nothing was refused since the server started."
            columns={[
              { title: "Last", cell: (each) => ago(Date.parse(each.time), Date.now()) },
              { title: "Times", right: true, cell: (each) => count(each.count) },
              { title: "Events", right: true, cell: (each) => (each.events ? count(each.events) : "") },
              {
                title: "Request",
                cell: (each) => (
                  <>
                    <span class="mono">
                      {each.method} {each.path}
                    </span>
                    <div class="muted">
                      {each.protocol} · {each.address} · {each.userAgent}
                    </div>
                  </>
                ),
              },
              { title: "Answer", cell: (each) => (each.status ? String(each.status) : "none") },
              {
                title: "Why",
                cell: (each) => (
                  <>
                    {each.message || each.reason}
                    <div class="muted mono">{each.reason}</div>
                  </>
                ),
              },
            ]}
          />
        </>
      )}
    </Shown>
  );
}

function Tiles({ samples }: { samples: Sample[] }) {
  const value = (name: string) => sumBy(samples, name).get("") ?? 0;
  const started = value("process_start_time_seconds") * 1000;
  const version = samples.find((sample) => sample.name === "tailrace_build_info")?.labels.version ?? "";
  const tiles: [string, string][] = [
    ["Version", version],
    ["Started", started ? ago(started, Date.now()) : "unknown"],
    ["Events taken", compact(value("tailrace_ingested_events_total"))],
    ["Bytes taken", bytes(value("tailrace_ingested_bytes_total"))],
    ["Not in tables yet", `${compact(value("tailrace_uncommitted_events"))} events`],
    ["Free on the disk", bytes(value("tailrace_free_disk_bytes"))],
    ["Log", bytes(value("tailrace_log_bytes"))],
    ["Waiting to be shredded", bytes(value("tailrace_backlog_bytes"))],
    ["Memory", bytes(value("process_resident_memory_bytes"))],
    ["Commits", compact(value("tailrace_commits_total"))],
    ["Failed commits", compact(value("tailrace_commit_failures_total"))],
    ["Damaged files", compact(value("tailrace_damaged_files"))],
    ["Merged files", compact(value("tailrace_compacted_files_total"))],
    ["Unavailable datasets", compact(value("tailrace_unavailable_datasets"))],
  ];
  return (
    <div class="tiles">
      {tiles.map(([title, shown]) => (
        <div key={title} class="tile">
          <b>{shown}</b>
          <span class="muted">{title}</span>
        </div>
      ))}
    </div>
  );
}

function Doors({ samples }: { samples: Sample[] }) {
  const events = sumBy(samples, "tailrace_ingested_events_total", "protocol");
  const size = sumBy(samples, "tailrace_ingested_bytes_total", "protocol");
  const rejected = sumBy(samples, "tailrace_rejected_events_total", "protocol");
  const refused = sumBy(samples, "tailrace_refused_requests_total", "protocol");
  const names = [...new Set([...events.keys(), ...rejected.keys(), ...refused.keys()])].sort();
  const used = names.filter((name) => [events, rejected, refused].some((sums) => (sums.get(name) ?? 0) > 0));
  return (
    <Records
      records={used}
      id={(name) => name}
      empty="No event has come since the server started."
      columns={[
        { title: "Door", cell: (name) => <b>{name}</b> },
        { title: "Events", right: true, cell: (name) => count(events.get(name) ?? 0) },
        { title: "Bytes", right: true, cell: (name) => bytes(size.get(name) ?? 0) },
        { title: "Events refused", right: true, cell: (name) => count(rejected.get(name) ?? 0) },
        { title: "Requests refused", right: true, cell: (name) => count(refused.get(name) ?? 0) },
      ]}
    />
  );
}
