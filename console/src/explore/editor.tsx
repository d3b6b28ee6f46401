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
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { aplDataset, aplName } from "../api/apl";
import type { ApiError } from "../api/http";
import { loadLanguage, tokenOf, type Word } from "../query/language";
import { topValues } from "./top-values";

export interface EditorProps {
  value: string;
  error: ApiError | null;
  names: readonly { name: string; type: string }[];
  datasets: readonly { name: string }[];
  language: "apl" | "sql";
  onChange: (text: string) => void;
  onSubmit: () => void;
}

const MOST_NAMES = 200; // of fields, offered at once

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
  ".cm-completionInfo": { padding: "8px 10px", maxWidth: "380px", whiteSpace: "normal" },
  ".cm-completionInfo p": { margin: "4px 0 0", color: "var(--muted)", fontFamily: "var(--font)" },
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
            // Beside that Tab leads out of the editor, as it does everywhere.
            { key: "Tab", run: acceptCompletion },
            ...closeBracketsKeymap,
            ...completionKeymap,
            ...historyKeymap,
            ...defaultKeymap,
          ]),
          LANGUAGE,
          syntaxHighlighting(COLOURS),
          THEME,
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({ "aria-label": "Query" }),
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

  // Right after it is drawn: later, what was typed meanwhile would be taken back, and that typed again, without an end.
  useLayoutEffect(() => {
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

async function completions(
  context: CompletionContext,
  { names, datasets, language }: EditorProps,
): Promise<CompletionResult | null> {
  const word = context.matchBefore(/[\w.]*/);
  if (language === "sql" || !word) return null;
  const before = context.state.sliceDoc(0, word.from).trimEnd();
  const compared = /([\w.]+|\['[^']+'\])\s*(?:==|!=|=~)\s*(["'])([^"']*)$/.exec(context.state.sliceDoc(0, context.pos));
  if (compared) return values(context, compared[1] ?? "", compared[2] ?? '"', compared[3] ?? "");
  if (word.from === word.to && !context.explicit && !before.endsWith("|")) return null;
  if (before === "")
    return {
      from: word.from,
      options: datasets.map(({ name }) => ({ label: name, apply: aplDataset(name), detail: "dataset" })),
    };
  const words = await loadLanguage();
  const shown = ({ name, syntax, about }: Word) => ({ label: name, info: () => explained(syntax, about) });
  if (before.endsWith("|")) return { from: word.from, options: words.operators.map(shown) };
  const called = (detail: string) => (each: Word) => ({ ...shown(each), apply: `${each.name}(`, detail, boost: -1 });
  const offered = names.length > MOST_NAMES ? namesLike(names, word.text) : names;
  return {
    from: word.from,
    ...(offered === names ? { validFor: /^[\w.]*$/ } : {}),
    options: [
      ...offered.map(({ name, type }) => ({ label: name, apply: aplName(name), detail: type, boost: 1 })),
      ...words.aggregations.map(called("aggregation")),
      ...words.functions.map(called("function")),
    ],
  };
}

/** Return the first fields with a text in their names, as sorting ten thousand takes longer than a keystroke may. */
function namesLike(names: EditorProps["names"], typed: string): EditorProps["names"] {
  const wanted = typed.toLowerCase();
  const found = [];
  for (const field of names) {
    if (field.name.toLowerCase().includes(wanted)) found.push(field);
    if (found.length === MOST_NAMES) break;
  }
  return found;
}

/** Complete a text that a field is compared with by the field's most frequent values. */
async function values(
  context: CompletionContext,
  field: string,
  quote: string,
  typed: string,
): Promise<CompletionResult> {
  const found = await topValues(field).catch(() => []);
  const closing = context.state.sliceDoc(context.pos, context.pos + 1) === quote ? "" : quote;
  const texts = found.map(({ value }) => value).filter((value) => typeof value === "string");
  return {
    from: context.pos - typed.length,
    options: texts.map((text) => ({
      label: text,
      apply: text.replaceAll(quote, `\\${quote}`) + closing,
      detail: "value",
    })),
  };
}

function explained(syntax: string, about: string): HTMLElement {
  const element = document.createElement("div");
  const code = document.createElement("code");
  code.textContent = syntax;
  const text = document.createElement("p");
  text.textContent = about;
  element.append(code, text);
  return element;
}
