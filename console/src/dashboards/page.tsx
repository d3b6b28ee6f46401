/** A dashboard: its charts on a grid, over a time, refreshed; and changed in place. */
import { useEffect, useState } from "preact/hooks";
import { ApiError, ask } from "../api/http";
import { sourceOf } from "../query/filters";
import { hashOf, navigate, route } from "../router";
import { may } from "../session";
import { TimePicker } from "../time/picker";
import { fixedRange, type Span, spanOf } from "../time/range";
import { Icon } from "../ui/icons";
import { Shown, useLoaded } from "../ui/loaded";
import { say } from "../ui/toast";
import { ChartForm } from "./chart-form";
import { defaultOf, Filter } from "./filter";
import { Grid } from "./grid";
import { DashboardList, PATH } from "./list";
import { TileBody } from "./tile";
import {
  completeLayout,
  type Dashboard,
  type DashboardChart,
  type DashboardDocument,
  placed,
  queryTime,
  windowTime,
} from "./types";

export function DashboardsPage() {
  const uid = route.value.path.split("/")[2];
  return uid ? <DashboardView key={uid} uid={uid} /> : <DashboardList />;
}

function DashboardView({ uid }: { uid: string }) {
  const loaded = useLoaded(() => ask<Dashboard>(`${PATH}/uid/${encodeURIComponent(uid)}`), [uid]);
  return (
    <div class="dashboard">
      <Shown of={loaded}>{(found) => <Board key={found.version} found={found} onSaved={loaded.reload} />}</Shown>
    </div>
  );
}

interface BoardProps {
  found: Dashboard;
  onSaved: () => void;
}

function Board({ found, onSaved }: BoardProps) {
  const { params, path } = route.value;
  const [document, setDocument] = useState<DashboardDocument>(found.dashboard);
  const [editing, setEditing] = useState(params.get("edit") === "1");
  const [opened, setOpened] = useState<DashboardChart | null>(null);
  const [values, setValues] = useState<Record<string, string>>({});
  const [round, setRound] = useState(0);
  const range = {
    start: params.get("start") || queryTime(document.timeWindowStart, "now-1h"),
    end: params.get("end") || queryTime(document.timeWindowEnd, "now"),
  };
  const span = spanAt(range, round);
  const marks = useLoaded(() => annotationsOf(document, span), [span.startMs, span.endMs]).value ?? [];
  const layout = completeLayout(document.charts, document.layout);
  const refresh = document.refreshTime ?? 0;
  useEffect(() => {
    window.document.title = `${document.name} · Tailrace`;
  }, [document.name]);
  useEffect(() => {
    if (!refresh || editing || range.end !== "now") return;
    const timer = setTimeout(() => setRound(round + 1), refresh * 1000);
    return () => clearTimeout(timer);
  }, [refresh, editing, round, range.end]);

  const go = (change: Record<string, string>) => navigate(path, { ...range, ...change });
  const zoom = (to: Span) => go({ ...fixedRange(to) });
  const save = async () => {
    const dashboard = {
      ...document,
      layout,
      timeWindowStart: windowTime(range.start),
      timeWindowEnd: windowTime(range.end),
    };
    try {
      await ask(`${PATH}/uid/${encodeURIComponent(found.uid)}`, {
        method: "PUT",
        body: { dashboard, version: found.version },
      });
      setEditing(false);
      navigate(path, {}, { replace: true });
      say("Saved");
      onSaved();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(error.message);
    }
  };
  const put = (chart: DashboardChart) => {
    const isNew = !document.charts.some((each) => each.id === chart.id);
    const charts = isNew
      ? [...document.charts, chart]
      : document.charts.map((each) => (each.id === chart.id ? chart : each));
    setDocument({ ...document, charts, layout: isNew ? [...layout, placed(layout, chart.id)] : layout });
    setOpened(null);
  };
  const filters = document.charts.flatMap((chart) => (chart.type === "SmartFilter" ? (chart.filters ?? []) : []));
  const shown = document.charts.filter((chart) => chart.type !== "SmartFilter");
  return (
    <>
      <header class="query-bar">
        <div class="query-tools">
          <a class="button quiet icon" href={hashOf("/dashboards")} aria-label="All dashboards">
            <Icon name="back" size={14} />
          </a>
          {editing ? (
            <input
              class="input"
              aria-label="Name"
              value={document.name}
              onInput={(event) => setDocument({ ...document, name: event.currentTarget.value })}
            />
          ) : (
            <h1 class="ellipsis">{document.name}</h1>
          )}
          <span class="spacer" />
          <TimePicker range={range} onChange={(chosen) => go({ ...chosen })} />
          <button
            type="button"
            class="button icon"
            aria-label="Refresh"
            title="Refresh"
            onClick={() => setRound(round + 1)}
          >
            <Icon name="history" size={14} />
          </button>
          {!editing && (
            <button
              type="button"
              class="button icon"
              aria-label="Full screen"
              title="Full screen"
              onClick={() => void window.document.querySelector(".dashboard")?.requestFullscreen()}
            >
              <Icon name="full" size={14} />
            </button>
          )}
          {may("dashboards", "update") &&
            (editing ? (
              <>
                <button type="button" class="button" onClick={() => setOpened(newChart())}>
                  <Icon name="plus" size={14} /> Chart
                </button>
                <button
                  type="button"
                  class="button"
                  onClick={() => {
                    setDocument(found.dashboard);
                    setEditing(false);
                  }}
                >
                  Cancel
                </button>
                <button type="button" class="button primary" onClick={() => void save()}>
                  Save
                </button>
              </>
            ) : (
              <button type="button" class="button" onClick={() => setEditing(true)}>
                Edit
              </button>
            ))}
        </div>
        {filters.length > 0 && (
          <div class="query-tools">
            {filters.map((each) => (
              <Filter
                key={each.id}
                definition={each}
                value={values[each.id] ?? defaultOf(each)}
                onChange={(value) => setValues({ ...values, [each.id]: value })}
              />
            ))}
          </div>
        )}
      </header>
      {!shown.length && (
        <p class="nothing">{editing ? "Add a chart, here or from Explore." : "This dashboard is empty."}</p>
      )}
      <Grid
        charts={shown}
        layout={layout}
        editing={editing}
        onLayout={(changed) => setDocument({ ...document, layout: changed })}
        onOpen={setOpened}
        onRemove={(id) =>
          setDocument({
            ...document,
            charts: document.charts.filter((each) => each.id !== id),
            layout: layout.filter((cell) => cell.i !== id),
          })
        }
        body={(chart) => (
          <TileBody
            chart={chart}
            span={span}
            variables={Object.fromEntries(filters.map((each) => [each.id, values[each.id] ?? defaultOf(each)]))}
            round={round}
            marks={marks}
            onZoom={zoom}
          />
        )}
      />
      {opened && <ChartForm before={opened} onDone={put} onClose={() => setOpened(null)} />}
    </>
  );
}

const spans = new Map<string, Span>();

/** Return the times of a range as they were when a round began, so that all charts have the same. */
function spanAt(range: { start: string; end: string }, round: number): Span {
  const key = `${range.start} ${range.end} ${round}`;
  const known = spans.get(key);
  if (known) return known;
  const now = Date.now();
  const span = spanOf(range, now) ?? { startMs: now - 3_600_000, endMs: now };
  spans.clear();
  spans.set(key, span);
  return span;
}

interface Annotation {
  time: string;
  title?: string;
  type?: string;
}

async function annotationsOf(document: DashboardDocument, span: Span) {
  if (!may("annotations", "read")) return [];
  const names = [
    ...new Set(document.charts.map((chart) => sourceOf(chart.query?.apl ?? "")).filter((name) => name !== null)),
  ];
  const query = new URLSearchParams({
    start: new Date(span.startMs).toISOString(),
    end: new Date(span.endMs).toISOString(),
  });
  if (names.length) query.set("datasets", names.join(","));
  const found = await ask<Annotation[]>(`/v2/annotations?${query}`);
  return found.map((each) => ({ timeMs: Date.parse(each.time), title: each.title || each.type || "" }));
}

function newChart(): DashboardChart {
  return { id: crypto.randomUUID().slice(0, 8), name: "", type: "TimeSeries", query: { apl: "" } };
}
