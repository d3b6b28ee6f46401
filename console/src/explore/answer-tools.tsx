/** What can be done with an answer: shown another way, downloaded, shared, saved, asked from elsewhere. */
import { useState } from "preact/hooks";
import { APL_PATH } from "../api/apl";
import { ApiError, address, ask, chosenOrganisation, ORGANISATION_HEADER, send } from "../api/http";
import { SQL_PATH } from "../api/sql";
import { may } from "../session";
import { spanOf } from "../time/range";
import { copy } from "../ui/clipboard";
import { Icon } from "../ui/icons";
import { Menu } from "../ui/menu";
import { say } from "../ui/toast";
import { ColumnMenu } from "./column-menu";
import { history } from "./history";
import * as state from "./state";
import { ToDashboard } from "./to-dashboard";

const VIEWS: Record<state.View, string> = { table: "Table", list: "Events", chart: "Chart" };
const FORMATS = [
  { name: "CSV", type: "text/csv", ending: "csv" },
  { name: "NDJSON", type: "application/x-ndjson", ending: "ndjson" },
  { name: "Parquet", type: "application/vnd.apache.parquet", ending: "parquet" },
] as const;

export function AnswerTools() {
  const [adding, setAdding] = useState(false);
  const chart = state.result.value?.chart ?? null;
  const grid = state.result.value?.grid ?? null;
  const mayAdd = state.language.value === "apl" && state.result.value && may("dashboards", "update");
  const views = (Object.keys(VIEWS) as state.View[]).filter((view) =>
    view === "chart" ? chart : view !== "list" || !chart,
  );
  return (
    <div class="answer-tools">
      <fieldset class="segments">
        <legend class="visually-hidden">Show as</legend>
        {views.map((view) => (
          <button
            key={view}
            type="button"
            class="segment"
            aria-pressed={state.view.value === view}
            onClick={() => state.show(view)}
          >
            {VIEWS[view]}
          </button>
        ))}
      </fieldset>
      {grid && (state.view.value === "table" || chart) && <ColumnMenu grid={grid} />}
      <Menu className="button small quiet icon" title="Download" label={<Icon name="download" />}>
        {(close) =>
          FORMATS.map((format) => (
            <button
              key={format.ending}
              type="button"
              class="menu-item"
              onClick={() => {
                close();
                void download(format.type, format.ending);
              }}
            >
              {format.name}
            </button>
          ))
        }
      </Menu>
      <Menu className="button small quiet icon" title="Share" label={<Icon name="share" />}>
        {(close) => (
          <>
            <CopyItem text={() => location.href} close={close}>
              Copy the address of this page
            </CopyItem>
            <CopyItem text={() => state.asked.value} close={close}>
              Copy the query
            </CopyItem>
            <CopyItem text={curl} close={close}>
              Copy as curl
            </CopyItem>
            {mayAdd && (
              <button
                type="button"
                class="menu-item"
                onClick={() => {
                  close();
                  setAdding(true);
                }}
              >
                Add to a dashboard
              </button>
            )}
          </>
        )}
      </Menu>
      <SavedQueries />
      {adding && <ToDashboard onClose={() => setAdding(false)} />}
    </div>
  );
}

interface CopyItemProps {
  text: () => string;
  close: () => void;
  children: string;
}

function CopyItem({ text, close, children }: CopyItemProps) {
  return (
    <button
      type="button"
      class="menu-item"
      onClick={() => {
        close();
        void copy(text());
      }}
    >
      {children}
    </button>
  );
}

function times(): { startTime: string; endTime: string } {
  const span = spanOf(state.range.value, Date.now()) ?? { startMs: 0, endMs: 0 };
  return { startTime: new Date(span.startMs).toISOString(), endTime: new Date(span.endMs).toISOString() };
}

function curl(): string {
  const isSql = state.language.value === "sql";
  const { start, end } = state.range.value;
  const body = JSON.stringify(
    isSql ? { sql: state.asked.value } : { apl: state.asked.value, startTime: start, endTime: end },
  );
  const organisation = chosenOrganisation();
  const chosen = organisation ? ` -H '${ORGANISATION_HEADER}: ${organisation}'` : "";
  const quoted = `'${body.replace(/'/g, `'\\''`)}'`;
  return `curl -sS '${address(isSql ? SQL_PATH : `${APL_PATH}?format=tabular`)}' -H "Authorization: Bearer $TAILRACE_TOKEN"${chosen} -H 'Content-Type: application/json' -d ${quoted}`;
}

async function download(type: string, ending: string): Promise<void> {
  try {
    const isSql = state.language.value === "sql";
    const body = isSql ? { sql: state.asked.value } : { apl: state.asked.value, ...times() };
    const response = await send(isSql ? SQL_PATH : APL_PATH, { method: "POST", headers: { Accept: type }, body });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${state.dataset.value ?? "answer"}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message);
  }
}

interface Starred {
  id: string;
  name: string;
  query: { apl?: string };
}

const STARRED = "/v2/apl-starred-queries";

function SavedQueries() {
  const [saved, setSaved] = useState<Starred[] | null>(null);
  const [name, setName] = useState("");
  const load = () =>
    ask<Starred[]>(`${STARRED}?who=all`)
      .then(setSaved)
      .catch((error: unknown) => say(String(error)));
  const save = async () => {
    try {
      const body = { name, kind: "apl", dataset: state.dataset.value ?? "", query: { apl: state.asked.value } };
      await ask(STARRED, { method: "POST", body });
      setName("");
      say("Saved");
      await load();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(error.message);
    }
  };
  return (
    <Menu className="button small quiet icon" title="Saved and recent queries" label={<Icon name="history" />}>
      {(close) => {
        if (saved === null) void load();
        const open = (apl: string) => {
          close();
          state.submit(apl);
        };
        return (
          <div class="saved">
            <form
              class="saved-form"
              onSubmit={(event) => {
                event.preventDefault();
                if (name.trim()) void save();
              }}
            >
              <input
                class="input"
                aria-label="Name of this query"
                placeholder="Save this query as …"
                value={name}
                onInput={(event) => setName(event.currentTarget.value)}
              />
              <button type="submit" class="button" disabled={!name.trim()}>
                Save
              </button>
            </form>
            {!!saved?.length && <h3>Saved</h3>}
            {saved?.map((each) => (
              <button key={each.id} type="button" class="menu-item" onClick={() => open(each.query.apl ?? "")}>
                <span class="ellipsis">{each.name}</span>
              </button>
            ))}
            {!!history.value.length && <h3>Recent</h3>}
            {history.value.slice(0, 20).map((apl) => (
              <button key={apl} type="button" class="menu-item mono" title={apl} onClick={() => open(apl)}>
                <span class="ellipsis">{apl}</span>
              </button>
            ))}
          </div>
        );
      }}
    </Menu>
  );
}
