/** One event on a line: time, level, message, and its other fields behind it. */
import type { ComponentChildren } from "preact";
import { cellText, eventTime } from "../format/values";
import { LAST, levelField, messageField, severityOf, TIME } from "../result/table";

const MAX_PAIRS = 30;
/** how many of an event's first fields are enough for its line: the pairs, and those that have a place of their own */
export const LINE_FIELDS = MAX_PAIRS + 10;

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
  const time = event[TIME];
  const names = Object.keys(event);
  const level = levelField(names);
  const message = messageField(names);
  const severity = level ? severityOf(event[level]) : "none";
  const shown = new Set([TIME, LAST, level, message]);
  const others = names.filter((name) => !shown.has(name)).slice(0, MAX_PAIRS);
  return (
    <button
      type="button"
      class={`list-row mark-${severity}`}
      aria-pressed={selected}
      style={{ top: `${top}px` }}
      onClick={onSelect}
    >
      {typeof time === "string" && <time>{eventTime(time)}</time>}
      {level && <b class={`text-${severity}`}>{cellText(event[level], "string", 12)}</b>}
      {message && <span>{marked(cellText(event[message], "string", 400), mark)}</span>}
      {others.map((name) => (
        <span key={name} class="pair">
          <i>{name}</i>={marked(cellText(event[name], "", 60), mark)}
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
