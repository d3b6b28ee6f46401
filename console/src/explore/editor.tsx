/** The editor of queries: colours, completion, and errors at their place. */
import {
  acceptCompletion,
  autocompletion,
  type CompletionContext,
  type CompletionResult,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "preact/hooks";
import { aplDataset, aplName } from "../api/apl";
import type { ApiError } from "../api/http";
import { AGGREGATIONS, FUNCTIONS, OPERATORS, tokenOf } from "../query/language";

export interface EditorProps {
  value: string;
  error: ApiError | null;
  names: readonly { name: string; type: string }[];
  datasets: readonly { name: string }[];
  onChange: (text: string) => void;
  onSubmit: () => void;
}

const THEME = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "13px", maxHeight: "40vh" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55" },
  ".cm-content": { padding: "7px 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 10px" },
  "&.cm-focused": { outline: "none" },
  ".cm-cursor": { borderLeftColor: "var(--accent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selected)",
  },
  ".cm-matchingBracket": { backgroundColor: "var(--selected)", outline: "none" },
  ".cm-tooltip": {
    border: "1px solid var(--line)",
    borderRadius: "8px",
    backgroundColor: "var(--raised)",
    boxShadow: "var(--shadow)",
    overflow: "hidden",
  },
  ".cm-tooltip-autocomplete > ul > li": { padding: "3px 9px !important" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": {
    backgroundColor: "var(--selected) !important",
    color: "var(--text) !important",
  },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal", marginLeft: "12px" },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-diagnostic": { color: "var(--text)" },
});

const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--keyword)", fontWeight: "600" },
  { tag: tags.function(tags.variableName), color: "var(--function)" },
  { tag: tags.string, color: "var(--string)" },
  { tag: tags.number, color: "var(--number)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: tags.operator, color: "var(--muted)" },
]);

const LANGUAGE = StreamLanguage.define<Record<string, never>>({
  token: (stream) => tokenOf(stream),
  tokenTable: { function: tags.function(tags.variableName) },
});

/** CodeMirror puts its styles into the document unless it is in a shadow root, and the page's policy forbids that. */
export function Editor(props: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    if (!host.current) return;
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: "open", delegatesFocus: true });
    const complete = (context: CompletionContext) => completions(context, latest.current);
    const editor = new EditorView({
      parent: root,
      root,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          history(),
          closeBrackets(),
          bracketMatching(),
          autocompletion({ override: [complete], icons: false }),
          keymap.of([
            {
              key: "Mod-Enter",
              run: () => {
                latest.current.onSubmit();
                return true;
              },
            },
            { key: "Tab", run: acceptCompletion },
            ...closeBracketsKeymap,
            ...completionKeymap,
            ...historyKeymap,
            ...defaultKeymap,
            indentWithTab,
          ]),
          LANGUAGE,
          syntaxHighlighting(COLOURS),
          THEME,
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": "Query in APL" }),
          placeholder("['dataset'] | where …"),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, []);

  useEffect(() => {
    const editor = view.current;
    const shown = editor?.state.doc.toString();
    if (editor && shown !== props.value)
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: props.value } });
  }, [props.value]);

  useEffect(() => {
    const editor = view.current;
    if (editor) editor.dispatch(setDiagnostics(editor.state, diagnosticsOf(editor.state, props.error)));
  }, [props.error]);

  return <div class="editor" ref={host} />;
}

function diagnosticsOf(state: EditorState, error: ApiError | null) {
  if (!error?.place || error.place.line > state.doc.lines) return [];
  const line = state.doc.line(error.place.line);
  const from = Math.min(line.from + error.place.column - 1, line.to);
  const word = /^\w+/.exec(state.doc.sliceString(from, line.to))?.[0].length ?? 1;
  return [{ from, to: Math.min(from + word, state.doc.length), severity: "error" as const, message: error.message }];
}

function completions(context: CompletionContext, { names, datasets }: EditorProps): CompletionResult | null {
  const word = context.matchBefore(/[\w.]*/);
  const before = context.state.sliceDoc(0, word?.from ?? context.pos).trimEnd();
  if (!word || (word.from === word.to && !context.explicit && !before.endsWith("|"))) return null;
  if (before === "")
    return {
      from: word.from,
      options: datasets.map(({ name }) => ({ label: name, apply: aplDataset(name), detail: "dataset" })),
    };
  if (before.endsWith("|")) return { from: word.from, options: OPERATORS.map((label) => ({ label, type: "keyword" })) };
  const call = (label: string, detail: string) => ({ label, apply: `${label}(`, detail, boost: -1 });
  return {
    from: word.from,
    validFor: /^[\w.]*$/,
    options: [
      ...names.map(({ name, type }) => ({ label: name, apply: aplName(name), detail: type, boost: 1 })),
      ...AGGREGATIONS.map((name) => call(name, "aggregation")),
      ...FUNCTIONS.map((name) => call(name, "function")),
    ],
  };
}
