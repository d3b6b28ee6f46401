/** One event whole: its fields with their types, and as JSON. */
import { useState } from "preact/hooks";
import { eventTime } from "../format/values";
import { type Grid, rowOf, TIME } from "../result/table";
import { around, fixedRange } from "../time/range";
import { EventTree, type Filter } from "../ui/event-tree";
import { Icon } from "../ui/icons";
import * as state from "./state";

const AROUND_MS = 60_000;

interface EventDetailProps {
  grid: Grid;
  row: number;
  onFilter: Filter | null;
  onClose: () => void;
}

export function EventDetail({ grid, row, onFilter, onClose }: EventDetailProps) {
  const [asJson, setAsJson] = useState(false);
  const event = rowOf(grid, row);
  const time = typeof event[TIME] === "string" ? event[TIME] : null;
  const types = new Map(grid.fields.map((field) => [field.name, field.type]));
  return (
    <aside class="detail" aria-label="Event">
      <header>
        <h2 class="mono">{time ? eventTime(time) : "Row"}</h2>
        <span class="spacer" />
        {time && (
          <button
            type="button"
            class="button small"
            onClick={() => state.submit(state.asked.value, fixedRange(around(Date.parse(time), AROUND_MS)))}
          >
            Around this
          </button>
        )}
        <button type="button" class="button small" aria-pressed={asJson} onClick={() => setAsJson(!asJson)}>
          JSON
        </button>
        <button type="button" class="button small icon" aria-label="Close" onClick={onClose}>
          <Icon name="close" size={14} />
        </button>
      </header>
      {asJson ? (
        <pre class="detail-json">{JSON.stringify(event, null, 2)}</pre>
      ) : (
        <EventTree event={event} types={types} onFilter={onFilter} />
      )}
    </aside>
  );
}
