/** A chart of a dashboard made or changed. */
import { useEffect, useState } from "preact/hooks";
import { aplDataset } from "../api/apl";
import { loadDatasets, readable } from "../datasets";
import { FormDialog } from "../ui/dialog";
import { type DashboardChart, TYPES } from "./types";

interface ChartFormProps {
  before: DashboardChart;
  onDone: (chart: DashboardChart) => void;
  onClose: () => void;
}

export function ChartForm({ before, onDone, onClose }: ChartFormProps) {
  const [chart, setChart] = useState(before);
  useEffect(() => void loadDatasets(), []);
  const isNote = chart.type === "Note";
  const hint = aplDataset(readable.value[0]?.name ?? "demo");
  return (
    <FormDialog
      title={before.query?.apl || before.text ? "Edit the chart" : "New chart"}
      action="Done"
      disabled={isNote ? !chart.text?.trim() : !chart.query?.apl?.trim()}
      onClose={onClose}
      onSubmit={async () => onDone(chart)}
    >
      <label>
        Name
        <input
          class="input"
          value={chart.name}
          onInput={(event) => setChart({ ...chart, name: event.currentTarget.value })}
        />
      </label>
      <label>
        Drawn as
        <select
          class="input"
          value={chart.type}
          onChange={(event) => setChart({ ...chart, type: event.currentTarget.value })}
        >
          {Object.entries({ ...(TYPES[chart.type] ? {} : { [chart.type]: chart.type }), ...TYPES }).map(
            ([id, title]) => (
              <option key={id} value={id}>
                {title}
              </option>
            ),
          )}
        </select>
      </label>
      {isNote ? (
        <label>
          Text
          <textarea
            class="input"
            rows={5}
            value={chart.text ?? ""}
            onInput={(event) => setChart({ ...chart, text: event.currentTarget.value })}
          />
        </label>
      ) : (
        <label>
          Query
          <textarea
            class="input mono"
            rows={6}
            spellcheck={false}
            placeholder={`${hint} | summarize count() by bin_auto(_time)`}
            value={chart.query?.apl ?? ""}
            onInput={(event) => setChart({ ...chart, query: { ...chart.query, apl: event.currentTarget.value } })}
          />
        </label>
      )}
    </FormDialog>
  );
}
