/** What part of a query a text is, for its colours; and the words of the language, which the server knows. */
import { ask } from "../api/http";

export interface Word {
  name: string;
  syntax: string;
  about: string;
}

export interface Language {
  operators: Word[];
  functions: Word[];
  aggregations: Word[];
}

let language: Promise<Language> | null = null;

/** Return the words of APL, asked for once. */
export function loadLanguage(): Promise<Language> {
  language ??= ask<Language>("/tailrace/v1/apl").catch((error: unknown) => {
    language = null;
    throw error;
  });
  return language;
}

const OPERATORS = [
  "where",
  "summarize",
  "extend",
  "project",
  "project-away",
  "project-keep",
  "project-rename",
  "project-reorder",
  "sort",
  "order",
  "top",
  "take",
  "limit",
  "count",
  "distinct",
  "search",
  "join",
  "union",
  "lookup",
  "parse",
  "parse-kv",
  "parse-where",
  "mv-expand",
  "make-series",
  "extend-valid",
  "sample",
  "redact",
  "getschema",
  "externaldata",
];

const WORDS = new Set([
  ...OPERATORS,
  "by",
  "asc",
  "desc",
  "on",
  "kind",
  "let",
  "and",
  "or",
  "not",
  "in",
  "has",
  "contains",
  "startswith",
  "endswith",
  "matches",
  "regex",
  "between",
  "true",
  "false",
  "null",
  "nulls",
  "first",
  "last",
  "with",
  "declare",
  "query_parameters",
]);

/** The part of CodeMirror's stream that is used. */
export interface TextStream {
  eatSpace(): boolean;
  match(pattern: RegExp): RegExpMatchArray | boolean | null;
  next(): unknown;
}

/** Read the next token of a line; return what it is. */
export function tokenOf(stream: TextStream): string | null {
  if (stream.eatSpace()) return null;
  if (stream.match(/^\/\/.*/)) return "comment";
  if (stream.match(/^@?"(?:[^"\\]|\\.)*"?/) || stream.match(/^@?'(?:[^'\\]|\\.)*'?/)) return "string";
  if (stream.match(/^\d+(?:\.\d+)?(?:ms|s|m|h|d|microseconds?|ticks?)?\b/)) return "number";
  const word = stream.match(/^[A-Za-z_][\w]*(?:-[a-z]+)*/);
  if (Array.isArray(word)) {
    const text = word[0] ?? "";
    if (WORDS.has(text)) return "keyword";
    return stream.match(/^(?=\s*\()/) ? "function" : null;
  }
  if (stream.match(/^[|=!<>~+\-*/%.,:;]+/)) return "operator";
  stream.next();
  return null;
}
