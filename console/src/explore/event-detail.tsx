/** One event whole: its fields with their types, and as JSON. */
import { useState } from "preact/hooks";
import { aplName } from "../api/apl";
import { eventTime } from "../format/values";
import { type Grid, rowOf, TIME } from "../result/table";
import { around, fixedRange } from "../time/range";
import { Icon } from "../ui/icons";
import type { Filter } from "./page";
import * as state from "./state";

const AROUND_MS = 60_000;
const LONGEST = 4000; // characters of a value until it is opened

interface EventDetailProps {
  grid: Grid;
  row: number;
  onFilter: Filter;
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
        <dl>
          {Object.entries(event).map(([name, value]) => (
            <Entry key={name} name={name} type={types.get(name) ?? ""} value={value} onFilter={onFilter} />
          ))}
        </dl>
      )}
    </aside>
  );
}

interface EntryProps {
  name: string;
  type: string;
  value: unknown;
  onFilter: Filter;
}

function Entry({ name, type, value, onFilter }: EntryProps) {
  const [whole, setWhole] = useState(false);
  const isNested = typeof value === "object" && value !== null && value.constructor.name !== "ExactNumber";
  const text = isNested ? JSON.stringify(value, null, 2) : String(value);
  return (
    <>
      <dt title={`${name}: ${type}`}>
        <span class="ellipsis">{name}</span>
        <span class="detail-tools">
          {!isNested && (
            <>
              <button type="button" aria-label={`Only this ${name}`} onClick={() => onFilter(name, type, value, false)}>
                <Icon name="plus" size={13} />
              </button>
              <button
                type="button"
                aria-label={`Without this ${name}`}
                onClick={() => onFilter(name, type, value, true)}
              >
                <Icon name="minus" size={13} />
              </button>
            </>
          )}
          <button
            type="button"
            aria-label={`Copy the path of ${name}`}
            title="Copy the path"
            onClick={() => void navigator.clipboard.writeText(aplName(name))}
          >
            <Icon name="copy" size={13} />
          </button>
        </span>
      </dt>
      <dd class={`mono type-${type.split("|")[0]}`}>
        {whole || text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}…`}
        {text.length > LONGEST && !whole && (
          <button type="button" class="button small" onClick={() => setWhole(true)}>
            All {text.length} characters
          </button>
        )}
      </dd>
    </>
  );
}
