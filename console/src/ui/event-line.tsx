/** One event on a line: time, level, message, and its other fields behind it. */
import type { ComponentChildren } from "preact";
import { cellText, eventTime } from "../format/values";
import { LAST, levelField, messageField, severityOf, TIME } from "../result/table";

const MAX_PAIRS = 30;

interface EventLineProps {
  /** its fields by their names */
  event: Record<string, unknown>;
  /** px */
  top: number;
  /** a text to highlight */
  mark?: string;
  selected: boolean;
  onSelect: () => void;
}

export function EventLine({ event, top, mark = "", selected, onSelect }: EventLineProps) {
  const { [TIME]: time, ...values } = event;
  const names = Object.keys(values);
  const level = levelField(names);
  const message = messageField(names);
  const severity = level ? severityOf(values[level]) : "none";
  const others = Object.entries(values).filter(([name]) => name !== level && name !== message && name !== LAST);
  return (
    <button
      type="button"
      class={`list-row mark-${severity}`}
      aria-pressed={selected}
      style={{ top: `${top}px` }}
      onClick={onSelect}
    >
      {typeof time === "string" && <time>{eventTime(time)}</time>}
      {level && <b class={`text-${severity}`}>{cellText(values[level], "string", 12)}</b>}
      {message && <span>{marked(cellText(values[message], "string", 400), mark)}</span>}
      {others.slice(0, MAX_PAIRS).map(([name, value]) => (
        <span key={name} class="pair">
          <i>{name}</i>={marked(cellText(value, "", 60), mark)}
        </span>
      ))}
    </button>
  );
}

function marked(text: string, mark: string): ComponentChildren {
  if (!mark) return text;
  const at = text.toLowerCase().indexOf(mark.toLowerCase());
  if (at < 0) return text;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + mark.length)}</mark>
      {marked(text.slice(at + mark.length), mark)}
    </>
  );
}
