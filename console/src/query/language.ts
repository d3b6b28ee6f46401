/** The words of APL, and what part of a query a text is, for colours and completion. */

export const OPERATORS = [
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

export const AGGREGATIONS = [
  "count",
  "countif",
  "dcount",
  "sum",
  "avg",
  "min",
  "max",
  "percentile",
  "percentiles_array",
  "histogram",
  "topk",
  "stdev",
  "variance",
  "arg_max",
  "arg_min",
  "make_list",
  "make_set",
  "rate",
];

export const FUNCTIONS = [
  "bin",
  "bin_auto",
  "ago",
  "now",
  "datetime",
  "tostring",
  "toint",
  "tolong",
  "toreal",
  "todatetime",
  "totimespan",
  "tobool",
  "isnull",
  "isnotnull",
  "isempty",
  "isnotempty",
  "iff",
  "case",
  "coalesce",
  "strcat",
  "strlen",
  "substring",
  "tolower",
  "toupper",
  "trim",
  "split",
  "replace_string",
  "replace_regex",
  "extract",
  "extract_all",
  "parse_json",
  "parse_url",
  "parse_path",
  "round",
  "floor",
  "ceiling",
  "abs",
  "log",
  "pow",
  "array_length",
  "startofday",
  "startofhour",
  "datetime_diff",
  "format_datetime",
  "hash_sha256",
  "ipv4_is_in_range",
];

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
