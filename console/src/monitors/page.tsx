/** Monitors: how each is, its last day as a strip, and what it watches. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { ago } from "../format/values";
import { navigate, route } from "../router";
import { may } from "../session";
import { Deletion } from "../ui/dialog";
import { Shown, useLoaded } from "../ui/loaded";
import { Records } from "../ui/records";
import { say } from "../ui/toast";
import { MonitorForm } from "./form";
import { NotifierSettings } from "./notifiers";
import { type Monitor, type MonitorStatus, OPERATORS, type State, stateOf, stretchesOf } from "./types";

const DAY_MS = 86_400_000;
const WORDS: Record<State, string> = {
  alerting: "Alerting",
  failing: "Cannot run",
  fine: "Fine",
  off: "Off",
  waiting: "Not run yet",
};

interface Listed {
  monitors: Monitor[];
  statuses: Map<string, MonitorStatus>;
}

async function load(): Promise<Listed> {
  const monitors = await ask<Monitor[]>("/v2/monitors");
  const since = new Date(Date.now() - DAY_MS).toISOString();
  const statuses = await Promise.all(
    monitors.map((each) =>
      ask<MonitorStatus>(`/tailrace/v1/monitors/${each.id}?startTime=${encodeURIComponent(since)}`),
    ),
  );
  return { monitors, statuses: new Map(statuses.map((each) => [each.id, each])) };
}

export function MonitorsPage() {
  const part = route.value.path.split("/")[2] ?? "";
  return (
    <div class="document wide">
      <h1>Monitors</h1>
      <nav class="tabs" aria-label="Monitors">
        <a class="tab" href="#/monitors" aria-current={part === "" ? "page" : undefined}>
          Monitors
        </a>
        {may("notifiers", "read") && (
          <a class="tab" href="#/monitors/notifiers" aria-current={part === "notifiers" ? "page" : undefined}>
            Notifiers
          </a>
        )}
      </nav>
      {part === "notifiers" ? <NotifierSettings /> : <MonitorList />}
    </div>
  );
}

function MonitorList() {
  const listed = useLoaded(load, []);
  const [deleting, setDeleting] = useState<Monitor | null>(null);
  const edited = route.value.params.get("edit");
  const close = () => navigate("/monitors");
  const saved = () => {
    close();
    listed.reload();
    say("Saved");
  };
  const toggle = async (monitor: Monitor) => {
    try {
      const { id, ...body } = monitor;
      await ask(`/v2/monitors/${id}`, { method: "PUT", body: { ...body, disabled: !monitor.disabled } });
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
    }
    listed.reload();
  };
  return (
    <>
      {may("monitors", "create") && (
        <div class="row">
          <button type="button" class="button primary" onClick={() => navigate("/monitors", { edit: "new" })}>
            New monitor
          </button>
        </div>
      )}
      <Shown of={listed}>
        {({ monitors, statuses }) => (
          <>
            <Records
              records={monitors}
              id={(monitor) => monitor.id}
              empty="There is no monitor yet. One asks a query at an interval, and tells where its answer passes a threshold."
              columns={[
                {
                  title: "State",
                  cell: (monitor) => {
                    const state = stateOf(monitor, statuses.get(monitor.id));
                    return <span class={`state ${state}`}>{WORDS[state]}</span>;
                  },
                },
                {
                  title: "Name",
                  cell: (monitor) => (
                    <>
                      <b>{monitor.name}</b>
                      <div class="muted">{monitor.description}</div>
                      <div class="muted">{conditionOf(monitor)}</div>
                    </>
                  ),
                },
                { title: "The last day", cell: (monitor) => <Strip status={statuses.get(monitor.id)} /> },
                {
                  title: "Last run",
                  cell: (monitor) => {
                    const status = statuses.get(monitor.id);
                    return (
                      <>
                        {status?.lastRun ? ago(Date.parse(status.lastRun), Date.now()) : ""}
                        {status?.error && <div class="text-error">{status.error}</div>}
                      </>
                    );
                  },
                },
                {
                  title: "",
                  right: true,
                  cell: (monitor) => (
                    <span class="row">
                      {may("monitors", "update") && (
                        <>
                          <button type="button" class="button small" onClick={() => void toggle(monitor)}>
                            {monitor.disabled ? "Turn on" : "Turn off"}
                          </button>
                          <button
                            type="button"
                            class="button small"
                            onClick={() => navigate("/monitors", { edit: monitor.id })}
                          >
                            Edit
                          </button>
                        </>
                      )}
                      {may("monitors", "delete") && (
                        <button type="button" class="button small danger" onClick={() => setDeleting(monitor)}>
                          Delete
                        </button>
                      )}
                    </span>
                  ),
                },
              ]}
            />
            {edited && (
              <MonitorForm
                key={edited}
                before={monitors.find((each) => each.id === edited) ?? null}
                onDone={saved}
                onClose={close}
              />
            )}
          </>
        )}
      </Shown>
      {deleting && (
        <Deletion
          title={`Delete ${deleting.name}`}
          path={`/v2/monitors/${deleting.id}`}
          onDone={listed.reload}
          onClose={() => setDeleting(null)}
        >
          Its history goes with it, and nobody is notified.
        </Deletion>
      )}
    </>
  );
}

function conditionOf(monitor: Monitor): string {
  const every = `every ${monitor.intervalMinutes} min, over ${monitor.rangeMinutes} min`;
  if (monitor.type === "MatchEvent") return `Tells each event that matches, ${every}`;
  if (monitor.type === "AnomalyDetection")
    return `${monitor.tolerance} % off the last ${monitor.compareDays} days, ${every}`;
  return `${OPERATORS[monitor.operator ?? ""] ?? ""} ${monitor.threshold}, ${every}`;
}

function Strip({ status }: { status: MonitorStatus | undefined }) {
  const end = Date.now();
  const stretches = stretchesOf(status?.history ?? [], end - DAY_MS, end);
  const alerts = stretches.filter((each) => each.kind === "open").length;
  return (
    <svg
      class="strip"
      viewBox="0 0 100 10"
      preserveAspectRatio="none"
      role="img"
      aria-label={`${alerts} alerts in the last day`}
    >
      <rect class="strip-fine" width="100" height="10" />
      {stretches.map((each, index) => (
        <rect
          key={index}
          class={`strip-${each.kind}`}
          x={Math.min(99.4, each.from * 100)}
          width={Math.max(0.6, (each.to - each.from) * 100)}
          height="10"
        />
      ))}
    </svg>
  );
}
