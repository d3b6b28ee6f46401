/** The query and the time that it covers. */
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { readable } from "../datasets";
import { queryOf } from "../query/filters";
import { TimePicker } from "../time/picker";
import { DatasetMenu } from "../ui/dataset-menu";
import { Icon } from "../ui/icons";
import type { EditorProps } from "./editor";
import * as state from "./state";

interface QueryBarProps {
  onToggleFields: () => void;
  fieldsShown: boolean;
}

const LANGUAGES: [state.Language, string][] = [
  ["apl", "APL"],
  ["sql", "SQL"],
];

/** Return a query for the same dataset in another language. */
function translated(language: state.Language): string {
  const name = state.dataset.value ?? readable.value[0]?.name ?? "demo";
  if (language === "apl") return queryOf(name);
  return `SELECT * FROM "${name.replaceAll('"', '""')}" ORDER BY _time DESC LIMIT 100`;
}

export function QueryBar({ onToggleFields, fieldsShown }: QueryBarProps) {
  const ask = () => state.submit();
  return (
    <header class="query-bar">
      <div class="query-tools">
        <button
          type="button"
          class="button icon quiet"
          title={fieldsShown ? "Hide the fields" : "Show the fields"}
          aria-label="Fields"
          aria-pressed={fieldsShown}
          onClick={onToggleFields}
        >
          <Icon name="fields" />
        </button>
        <DatasetMenu chosen={state.dataset.value} onChoose={(name) => state.submit(queryOf(name))} />
        <fieldset class="segments">
          <legend class="visually-hidden">Language</legend>
          {LANGUAGES.map(([id, title]) => (
            <button
              key={id}
              type="button"
              class="segment"
              aria-pressed={state.language.value === id}
              onClick={() => state.language.value !== id && state.submit(translated(id), state.range.value, id)}
            >
              {title}
            </button>
          ))}
        </fieldset>
        <span class="spacer" />
        <TimePicker range={state.range.value} onChange={(range) => state.submit(state.draft.value, range)} />
        {state.running.value ? (
          <button type="button" class="button" onClick={state.stop}>
            <Icon name="stop" size={14} /> Stop
          </button>
        ) : (
          <button type="button" class="button primary" title="Ctrl+Enter" onClick={ask}>
            <Icon name="play" size={14} /> Run
          </button>
        )}
      </div>
      <LazyEditor
        value={state.draft.value}
        error={state.failure.value?.place ? state.failure.value : null}
        names={state.fields.value}
        datasets={readable.value}
        language={state.language.value}
        onChange={(text) => {
          state.draft.value = text;
        }}
        onSubmit={ask}
      />
    </header>
  );
}

/** The editor, which is loaded when the page has been drawn; until then the query stands in a field of text. */
function LazyEditor(props: EditorProps) {
  const [loaded, setLoaded] = useState<{ Editor: ComponentType<EditorProps> } | null>(null);
  useEffect(() => {
    void import("./editor").then((module) => setLoaded({ Editor: module.Editor }));
  }, []);
  if (loaded) return <loaded.Editor {...props} />;
  return (
    <textarea
      class="input mono query-text"
      aria-label="Query"
      rows={2}
      spellcheck={false}
      value={props.value}
      onInput={(event) => props.onChange(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) props.onSubmit();
      }}
    />
  );
}
