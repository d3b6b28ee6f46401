/** The fields of one event with their types, each to be copied and filtered by. */
import { useState } from "preact/hooks";
import { aplName } from "../api/apl";
import { ExactNumber } from "../api/http";
import { copy } from "./clipboard";
import { Icon } from "./icons";

const LONGEST = 4000; // characters of a value until it is opened
const STEP = 200; // fields drawn at first, and more by each click

export type Filter = (field: string, type: string, value: unknown, negated: boolean) => void;

interface EventTreeProps {
  event: Record<string, unknown>;
  /** by name */
  types: ReadonlyMap<string, string>;
  onFilter: Filter | null;
}

export function EventTree({ event, types, onFilter }: EventTreeProps) {
  const [typed, setTyped] = useState("");
  const [most, setMost] = useState(STEP);
  const entries = Object.entries(event);
  const wanted = typed.toLowerCase();
  const found = wanted ? entries.filter(([name]) => name.toLowerCase().includes(wanted)) : entries;
  return (
    <>
      {entries.length > STEP && (
        <input
          class="input tree-find"
          aria-label="Find a field of this event"
          placeholder={`Find one of ${entries.length} fields`}
          value={typed}
          onInput={(change) => setTyped(change.currentTarget.value)}
        />
      )}
      <dl class="tree">
        {found.slice(0, most).map(([name, value]) => (
          <Entry key={name} name={name} type={types.get(name) ?? typeOf(value)} value={value} onFilter={onFilter} />
        ))}
      </dl>
      {found.length > most && (
        <button type="button" class="button small tree-more" onClick={() => setMost(most + STEP)}>
          {Math.min(STEP, found.length - most)} more of {found.length} fields
        </button>
      )}
    </>
  );
}

interface EntryProps {
  name: string;
  type: string;
  value: unknown;
  onFilter: Filter | null;
}

function Entry({ name, type, value, onFilter }: EntryProps) {
  const [whole, setWhole] = useState(false);
  const isNested = typeof value === "object" && value !== null && !(value instanceof ExactNumber);
  const text = isNested ? JSON.stringify(value, null, 2) : String(value);
  return (
    <>
      <dt title={`${name}: ${type}`}>
        <span class="ellipsis">{name}</span>
        <span class="detail-tools">
          {onFilter && !isNested && (
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
            onClick={() => void copy(aplName(name))}
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

function typeOf(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "float";
  if (value instanceof ExactNumber) return "integer";
  if (Array.isArray(value)) return "array";
  return typeof value === "object" ? "map" : typeof value;
}
