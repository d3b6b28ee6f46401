/** Choosing the time that a query covers. */
import { useState } from "preact/hooks";
import { Icon } from "../ui/icons";
import { Menu } from "../ui/menu";
import { fixedRange, PRESETS, rangeLabel, shifted, spanOf, type TimeRange } from "./range";

interface TimePickerProps {
  range: TimeRange;
  onChange: (range: TimeRange) => void;
}

export function TimePicker({ range, onChange }: TimePickerProps) {
  const move = (share: number) => {
    const span = spanOf(range, Date.now());
    if (span) onChange(fixedRange(shifted(span, share)));
  };
  return (
    <div class="time-picker">
      <button type="button" class="button icon quiet" aria-label="Earlier" title="Earlier" onClick={() => move(-1)}>
        <Icon name="back" size={14} />
      </button>
      <Menu
        title="Choose the time"
        label={
          <>
            <Icon name="clock" size={14} /> {rangeLabel(range)}
          </>
        }
      >
        {(close) => (
          <Choices
            range={range}
            onChoose={(chosen) => {
              close();
              onChange(chosen);
            }}
          />
        )}
      </Menu>
      <button type="button" class="button icon quiet" aria-label="Later" title="Later" onClick={() => move(1)}>
        <Icon name="forward" size={14} />
      </button>
    </div>
  );
}

function Choices({ range, onChoose }: { range: TimeRange; onChoose: (range: TimeRange) => void }) {
  const [start, setStart] = useState(localText(range.start));
  const [end, setEnd] = useState(localText(range.end));
  const chosen = { start: apiText(start), end: apiText(end) };
  const valid = spanOf(chosen, Date.now()) !== null;
  return (
    <div class="time-choices">
      <div class="time-presets">
        {PRESETS.map((preset) => (
          <button
            key={preset.start}
            type="button"
            class="menu-item"
            role="menuitemradio"
            aria-checked={preset.start === range.start && range.end === "now"}
            onClick={() => onChoose(preset)}
          >
            {rangeLabel(preset)}
          </button>
        ))}
      </div>
      <form
        class="time-fixed"
        onSubmit={(event) => {
          event.preventDefault();
          if (valid) onChoose(chosen);
        }}
      >
        <label>
          From
          <input class="input mono" value={start} onInput={(event) => setStart(event.currentTarget.value)} />
        </label>
        <label>
          To
          <input class="input mono" value={end} onInput={(event) => setEnd(event.currentTarget.value)} />
        </label>
        <p class="muted">
          Local time, such as 2026-11-30 08:15, or <code>now-90m</code>.
        </p>
        <button type="submit" class="button primary" disabled={!valid}>
          Apply
        </button>
      </form>
    </div>
  );
}

function localText(text: string): string {
  if (text.startsWith("now")) return text;
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString();
  return local.slice(0, 19).replace("T", " ");
}

function apiText(text: string): string {
  const trimmed = text.trim();
  if (trimmed.startsWith("now")) return trimmed;
  const date = new Date(trimmed.replace(" ", "T"));
  return Number.isNaN(date.getTime()) ? trimmed : date.toISOString();
}
