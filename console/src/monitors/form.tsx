/** A monitor made or changed, with what its query answers now drawn against the threshold. */
import { useState } from "preact/hooks";
import { runApl } from "../api/apl";
import { ApiError, ask } from "../api/http";
import { ChartView } from "../charts/chart-view";
import { type Chart, chartOf } from "../result/series";
import { FormDialog } from "../ui/dialog";
import { useLoaded } from "../ui/loaded";
import { type Monitor, type MonitorKind, type Notifier, OPERATORS } from "./types";

const KINDS: Record<MonitorKind, string> = {
  Threshold: "A value passes a threshold",
  MatchEvent: "An event matches",
  AnomalyDetection: "A value is unlike the days before",
};

const NEW: Omit<Monitor, "id"> = {
  name: "",
  type: "Threshold",
  description: "",
  aplQuery: "['demo'] | where level == 'error' | summarize count() by bin_auto(_time)",
  columnName: "",
  operator: "Above",
  threshold: 10,
  intervalMinutes: 5,
  rangeMinutes: 5,
  secondDelay: 0,
  alertOnNoData: false,
  resolvable: true,
  notifyByGroup: false,
  disabled: false,
  compareDays: 7,
  tolerance: 25,
  notifierIds: [],
};

interface MonitorFormProps {
  /** null for a new one */
  before: Monitor | null;
  onDone: () => void;
  onClose: () => void;
}

export function MonitorForm({ before, onDone, onClose }: MonitorFormProps) {
  const [monitor, setMonitor] = useState<Omit<Monitor, "id">>(before ?? NEW);
  const notifiers = useLoaded(() => ask<Notifier[]>("/v2/notifiers"), []);
  const set = (change: Partial<Monitor>) => setMonitor({ ...monitor, ...change });
  const number = (
    label: string,
    name: "threshold" | "intervalMinutes" | "rangeMinutes" | "tolerance" | "compareDays",
  ) => (
    <label>
      {label}
      <input
        class="input"
        type="number"
        step="any"
        value={monitor[name]}
        onInput={(event) => set({ [name]: event.currentTarget.valueAsNumber || 0 })}
      />
    </label>
  );
  return (
    <FormDialog
      title={before ? `Edit ${before.name}` : "New monitor"}
      action={before ? "Save" : "Make it"}
      disabled={!monitor.name.trim() || !monitor.aplQuery.trim()}
      onClose={onClose}
      onSubmit={async () => {
        const { id: _id, ...body } = { id: "", ...monitor };
        if (before) await ask(`/v2/monitors/${before.id}`, { method: "PUT", body });
        else await ask("/v2/monitors", { method: "POST", body });
        onDone();
      }}
    >
      <label>
        Name
        <input class="input" value={monitor.name} onInput={(event) => set({ name: event.currentTarget.value })} />
      </label>
      <label>
        It tells when
        <select
          class="input"
          value={monitor.type}
          onChange={(event) => set({ type: event.currentTarget.value as MonitorKind })}
        >
          {Object.entries(KINDS).map(([kind, title]) => (
            <option key={kind} value={kind}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <label>
        Query
        <textarea
          class="input mono"
          rows={4}
          spellcheck={false}
          value={monitor.aplQuery}
          onInput={(event) => set({ aplQuery: event.currentTarget.value })}
        />
      </label>
      {monitor.type !== "MatchEvent" && (
        <div class="form-pair">
          <label>
            Is
            <select
              class="input"
              value={monitor.operator}
              onChange={(event) => set({ operator: event.currentTarget.value })}
            >
              {Object.entries(OPERATORS).map(([id, title]) => (
                <option key={id} value={id}>
                  {title}
                </option>
              ))}
            </select>
          </label>
          {monitor.type === "Threshold" ? number("Threshold", "threshold") : number("Tolerance, %", "tolerance")}
        </div>
      )}
      {monitor.type === "AnomalyDetection" && number("Days to compare with", "compareDays")}
      <div class="form-pair">
        {number("Every, minutes", "intervalMinutes")}
        {number("Over the last, minutes", "rangeMinutes")}
      </div>
      <div class="checks">
        {(
          [
            ["alertOnNoData", "Tell when there is no data"],
            ["resolvable", "Tell when it is over"],
            ["notifyByGroup", "Each group by itself"],
          ] as const
        ).map(([name, title]) => (
          <label key={name}>
            <input
              type="checkbox"
              checked={monitor[name]}
              onChange={(event) => set({ [name]: event.currentTarget.checked })}
            />
            {title}
          </label>
        ))}
      </div>
      <fieldset class="field-row">
        <legend>Whom it tells</legend>
        <div class="checks">
          {(notifiers.value ?? []).map((each) => (
            <label key={each.id}>
              <input
                type="checkbox"
                checked={monitor.notifierIds.includes(each.id)}
                onChange={(event) =>
                  set({
                    notifierIds: event.currentTarget.checked
                      ? [...monitor.notifierIds, each.id]
                      : monitor.notifierIds.filter((id) => id !== each.id),
                  })
                }
              />
              {each.name}
            </label>
          ))}
          {notifiers.value?.length === 0 && <span class="hint">There is no notifier yet.</span>}
        </div>
      </fieldset>
      <Preview monitor={monitor} />
    </FormDialog>
  );
}

interface Previewed {
  chart: Chart | null;
  rows: number;
}

/** What the query answers over a day, beside the threshold. */
function Preview({ monitor }: { monitor: Omit<Monitor, "id"> }) {
  const [shown, setShown] = useState<Previewed | string | null>(null);
  const look = async () => {
    try {
      const answer = await runApl({ apl: monitor.aplQuery, startTime: "now-1d", endTime: "now" });
      setShown({ chart: chartOf(answer), rows: answer.status.rowsMatched });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setShown(error.message);
    }
  };
  const threshold = monitor.type === "Threshold" ? monitor.threshold : null;
  return (
    <div class="step">
      <button type="button" class="button" onClick={() => void look()}>
        Try it over the last day
      </button>
      {typeof shown === "string" && <p class="notice error">{shown}</p>}
      {shown && typeof shown !== "string" && (
        <div class="preview">
          {shown.chart ? (
            <ChartView chart={shown.chart} height={160} threshold={threshold} />
          ) : (
            <p class="muted">{shown.rows} events match.</p>
          )}
        </div>
      )}
    </div>
  );
}
