/** The fields of the dataset with their most frequent values, each a click away from a filter. */
import { useEffect, useState } from "preact/hooks";
import { aplName } from "../api/apl";
import { cellText, compact } from "../format/values";
import type { Filter } from "../ui/event-tree";
import { Icon } from "../ui/icons";
import * as state from "./state";
import { topValues, type ValueCount } from "./top-values";

const TOP = 8;

interface FieldSidebarProps {
  onFilter: Filter;
  onCondition: (text: string) => void;
}

export function FieldSidebar({ onFilter, onCondition }: FieldSidebarProps) {
  const [typed, setTyped] = useState("");
  const [opened, setOpened] = useState<string | null>(null);
  const found = state.fields.value.filter(
    (field) => !field.hidden && field.name.toLowerCase().includes(typed.toLowerCase()),
  );
  return (
    <aside class="fields" aria-label="Fields">
      <input
        class="input"
        placeholder={`Find one of ${state.fields.value.length} fields`}
        aria-label="Find a field"
        value={typed}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      <ul>
        {found.slice(0, 500).map((field) => (
          <li key={field.name}>
            <button
              type="button"
              class="field"
              aria-expanded={opened === field.name}
              title={field.description || `${field.name}: ${field.type}`}
              onClick={() => setOpened(opened === field.name ? null : field.name)}
            >
              <span class={`field-type type-${field.type.split("|")[0]}`}>{typeMark(field.type)}</span>
              <span class="ellipsis">{field.name}</span>
            </button>
            {opened === field.name && (
              <TopValues field={field.name} type={field.type} onFilter={onFilter} onCondition={onCondition} />
            )}
          </li>
        ))}
      </ul>
    </aside>
  );
}

interface Top {
  values: ValueCount[];
  total: number;
}

function TopValues({ field, type, onFilter, onCondition }: FieldSidebarProps & { field: string; type: string }) {
  const [top, setTop] = useState<Top | string | null>(null);
  const apl = state.asked.value;
  const { start, end } = state.range.value;
  useEffect(() => {
    const controller = new AbortController();
    setTop(null);
    topValues(field, controller.signal)
      .then((found) => {
        const total = found.reduce((sum, each) => sum + each.hits, 0);
        setTop({ values: found.slice(0, TOP), total });
      })
      .catch((error: unknown) => {
        if (!controller.signal.aborted) setTop(error instanceof Error ? error.message : String(error));
      });
    return () => controller.abort();
  }, [field, apl, start, end]);
  if (top === null) return <p class="top muted">…</p>;
  if (typeof top === "string") return <p class="top muted">{top}</p>;
  return (
    <ul class="top">
      {top.values.map(({ value, hits }) => (
        <li key={String(value)}>
          <span class="top-share" style={{ width: `${(100 * hits) / Math.max(1, top.total)}%` }} />
          <span class="top-value ellipsis" title={cellText(value, type, 2000)}>
            {value === null ? <i class="muted">none</i> : cellText(value, type, 80) || <i class="muted">empty</i>}
          </span>
          <span class="top-count">{compact(hits)}</span>
          <button
            type="button"
            class="top-filter"
            aria-label={`Only ${cellText(value, type, 80)}`}
            onClick={() => onFilter(field, type, value, false)}
          >
            <Icon name="plus" size={13} />
          </button>
          <button
            type="button"
            class="top-filter"
            aria-label={`Without ${cellText(value, type, 80)}`}
            onClick={() => onFilter(field, type, value, true)}
          >
            <Icon name="minus" size={13} />
          </button>
        </li>
      ))}
      <li>
        <button type="button" class="top-has" onClick={() => onCondition(`isnotnull(${aplName(field)})`)}>
          only where it is
        </button>
      </li>
    </ul>
  );
}

function typeMark(type: string): string {
  const marks: Record<string, string> = {
    string: "T",
    integer: "1",
    float: ".5",
    boolean: "?",
    datetime: "◷",
    timespan: "⧗",
    array: "[]",
    map: "{}",
  };
  return type.includes("|") ? "*" : (marks[type] ?? "·");
}
