/** Explore: ask, see the hits over time, the events, their fields, and one event whole. */
import { useEffect, useState } from "preact/hooks";
import { ChartView } from "../charts/chart-view";
import { compact, count, duration } from "../format/values";
import { withCondition, withFilter } from "../query/filters";
import type { Grid } from "../result/table";
import { fixedRange } from "../time/range";
import type { Filter } from "../ui/event-tree";
import { AnswerTools } from "./answer-tools";
import { EventDetail } from "./event-detail";
import { EventList } from "./event-list";
import { FieldSidebar } from "./field-sidebar";
import { HitsChart } from "./hits-chart";
import { QueryBar } from "./query-bar";
import { ResultTable } from "./result-table";
import * as state from "./state";

const TICK_MS = 100;

export function ExplorePage() {
  const [fieldsShown, setFieldsShown] = useState(() => innerWidth > 900);
  useEffect(() => {
    void state.open();
    return state.follow();
  }, []);
  const filter: Filter = (field, type, value, negated) => {
    const apl = withFilter(state.asked.value, field, type, value, negated);
    if (apl !== null) state.submit(apl);
  };
  const condition = (text: string) => {
    const apl = withCondition(state.asked.value, text);
    if (apl !== null) state.submit(apl);
  };
  const grid = state.result.value?.grid ?? null;
  const row = state.selectedRow.value;
  const isApl = state.language.value === "apl";
  return (
    <div class="explore">
      <h1 class="visually-hidden">Explore</h1>
      <QueryBar onToggleFields={() => setFieldsShown(!fieldsShown)} fieldsShown={fieldsShown} />
      <div class="explore-body">
        {fieldsShown && isApl && <FieldSidebar onFilter={filter} onCondition={condition} />}
        <section class="explore-main" aria-label="Answer">
          {state.hits.value && state.view.value !== "chart" && (
            <HitsChart hits={state.hits.value} onZoom={(span) => state.submit(state.asked.value, fixedRange(span))} />
          )}
          <div class="answer-head">
            <StatusLine />
            <AnswerTools />
          </div>
          {state.failure.value && (
            <div class="notice error failure" role="alert">
              {state.failure.value.place && (
                <b>
                  Line {state.failure.value.place.line}, column {state.failure.value.place.column}:{" "}
                </b>
              )}
              {state.failure.value.message}
            </div>
          )}
          {grid && grid.rows === 0 && !state.running.value && <NothingFound />}
          {grid && grid.rows > 0 && <AnswerView grid={grid} />}
        </section>
        {grid && row !== null && row < grid.rows && (
          <EventDetail
            grid={grid}
            row={row}
            onFilter={isApl ? filter : null}
            onClose={() => {
              state.selectedRow.value = null;
            }}
          />
        )}
      </div>
    </div>
  );
}

function AnswerView({ grid }: { grid: Grid }) {
  const chart = state.result.value?.chart ?? null;
  switch (state.view.value) {
    case "list":
      return <EventList grid={grid} />;
    case "chart":
      return (
        <>
          {chart?.kind === "time" && <Styles />}
          {chart && (
            <ChartView
              chart={chart}
              style={state.style.value}
              onZoom={(span) => state.submit(state.asked.value, fixedRange(span))}
            />
          )}
          <ResultTable grid={grid} />
        </>
      );
    case "table":
      return <ResultTable grid={grid} />;
  }
}

const STYLES: [state.Style, string][] = [
  ["line", "Lines"],
  ["area", "Areas"],
  ["bar", "Bars"],
];

function Styles() {
  return (
    <fieldset class="segments styles">
      <legend class="visually-hidden">Draw as</legend>
      {STYLES.map(([id, title]) => (
        <button
          key={id}
          type="button"
          class="segment"
          aria-pressed={state.style.value === id}
          onClick={() => state.drawAs(id)}
        >
          {title}
        </button>
      ))}
    </fieldset>
  );
}

function StatusLine() {
  const { value: result } = state.result;
  if (state.runningSinceMs.value !== null) return <Running sinceMs={state.runningSinceMs.value} />;
  if (state.stoppedAfterMs.value !== null)
    return (
      <p class="status" role="status">
        Stopped after {duration(state.stoppedAfterMs.value * 1000)}.
      </p>
    );
  if (!result) return <p class="status" role="status" />;
  const { status } = result.answer;
  const rows = result.grid.rows;
  return (
    <p class="status" role="status">
      <b>{count(rows)}</b> {rows === 1 ? "row" : "rows"}
      {status.rowsMatched > rows && <> of {count(status.rowsMatched)} that match</>}
      <span class="muted">
        {" · "}
        {state.language.value === "apl" &&
          `${compact(status.rowsExamined)} examined in ${status.blocksMatched} of ${status.blocksExamined} files · `}
        {duration(status.elapsedTime)}
      </span>
      {(status.messages ?? []).map((message) => (
        <span key={message.code} class="status-message" title={message.code}>
          {message.msg}
        </span>
      ))}
    </p>
  );
}

/** How long the query runs already, said to the eye alone. */
function Running({ sinceMs }: { sinceMs: number }) {
  const [nowMs, setNowMs] = useState(sinceMs);
  useEffect(() => {
    const ticking = setInterval(() => setNowMs(performance.now()), TICK_MS);
    return () => clearInterval(ticking);
  }, [sinceMs]);
  const seconds = (nowMs - sinceMs) / 1000;
  return (
    <p class="status" role="status">
      <span class="spinner" /> Running …{" "}
      {seconds >= 1 && (
        <span class="muted" aria-hidden="true">
          {seconds.toFixed(1)} s
        </span>
      )}
    </p>
  );
}

function NothingFound() {
  return (
    <div class="nothing">
      <p>Nothing in this time matches.</p>
      <button
        type="button"
        class="button"
        onClick={() => state.submit(state.asked.value, { start: "now-30d", end: "now" })}
      >
        Look at the last 30 days
      </button>
    </div>
  );
}
