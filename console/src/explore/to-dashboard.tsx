/** The query of Explore as a chart of a dashboard, one that there is or a new one. */
import { useState } from "preact/hooks";
import { ask } from "../api/http";
import { PATH } from "../dashboards/list";
import {
  completeLayout,
  type Dashboard,
  type DashboardChart,
  type DashboardDocument,
  placed,
  windowTime,
} from "../dashboards/types";
import type { Chart } from "../result/series";
import { navigate } from "../router";
import { may } from "../session";
import { FormDialog } from "../ui/dialog";
import { useLoaded } from "../ui/loaded";
import * as state from "./state";

const NEW = "";
const TYPES: Record<Chart["kind"], string> = {
  time: "TimeSeries",
  heat: "Heatmap",
  top: "TopK",
  number: "Statistic",
};
const VARIANTS = { line: "line", area: "area", bar: "bars" };

/** Return the chart of a dashboard that draws what Explore shows. */
export function dashboardChart(name: string, apl: string, chart: Chart | null, style: state.Style): DashboardChart {
  const id = crypto.randomUUID().slice(0, 8);
  const queryOptions = chart?.kind === "time" ? { queryOptions: { timeSeriesVariant: VARIANTS[style] } } : {};
  return { id, name, type: chart ? TYPES[chart.kind] : "LogStream", query: { apl, ...queryOptions } };
}

export function ToDashboard({ onClose }: { onClose: () => void }) {
  const dashboards = useLoaded(() => ask<Dashboard[]>(PATH), []);
  const [name, setName] = useState("");
  const [uid, setUid] = useState(NEW);
  const [title, setTitle] = useState("");
  const add = async () => {
    const chart = dashboardChart(name.trim(), state.asked.value, state.result.value?.chart ?? null, state.style.value);
    const found = (dashboards.value ?? []).find((each) => each.uid === uid);
    const done = found ? await put(found, chart) : await make(title.trim(), chart);
    navigate(`/dashboards/${done}`);
  };
  return (
    <FormDialog
      title="Add to a dashboard"
      action="Add it"
      disabled={!name.trim() || (uid === NEW && !title.trim())}
      onClose={onClose}
      onSubmit={add}
    >
      <label>
        Name of the chart
        <input class="input" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        Dashboard
        <select class="input" value={uid} onChange={(event) => setUid(event.currentTarget.value)}>
          {may("dashboards", "create") && <option value={NEW}>A new one</option>}
          {(dashboards.value ?? []).map((each) => (
            <option key={each.uid} value={each.uid}>
              {each.dashboard.name}
            </option>
          ))}
        </select>
      </label>
      {uid === NEW && (
        <label>
          Name of the dashboard
          <input class="input" value={title} onInput={(event) => setTitle(event.currentTarget.value)} />
        </label>
      )}
    </FormDialog>
  );
}

async function put(found: Dashboard, chart: DashboardChart): Promise<string> {
  const { charts, layout } = found.dashboard;
  const cells = completeLayout(charts, layout);
  const dashboard = { ...found.dashboard, charts: [...charts, chart], layout: [...cells, placed(cells, chart.id)] };
  const body = { dashboard, version: found.version };
  await ask(`${PATH}/uid/${encodeURIComponent(found.uid)}`, { method: "PUT", body });
  return found.uid;
}

async function make(name: string, chart: DashboardChart): Promise<string> {
  const dashboard: DashboardDocument = {
    name,
    charts: [chart],
    layout: [placed([], chart.id)],
    timeWindowStart: windowTime(state.range.value.start),
    timeWindowEnd: windowTime(state.range.value.end),
  };
  return (await ask<{ dashboard: { uid: string } }>(PATH, { method: "POST", body: { dashboard } })).dashboard.uid;
}
