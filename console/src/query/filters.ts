/** Changes of a query's text by clicking: filters in and out of a value. */
import { aplDataset, aplLiteral, aplName } from "../api/apl";

/** Return the query with a filter behind its source and the filters that stand there; null where the value has no literal. */
export function withFilter(apl: string, field: string, type: string, value: unknown, negated: boolean): string | null {
  return withCondition(apl, condition(field, type, value, negated));
}

function condition(field: string, type: string, value: unknown, negated: boolean): string | null {
  const name = aplName(field);
  if (value === null || value === undefined) return negated ? `isnotnull(${name})` : `isnull(${name})`;
  const literal = aplLiteral(value, type);
  return literal === null ? null : `${name} ${negated ? "!=" : "=="} ${literal}`;
}

/** Return the query with one more condition, as early as it can stand. */
export function withCondition(apl: string, text: string | null): string | null {
  if (text === null) return null;
  const stages = splitStages(apl);
  let at = 1;
  while (at < stages.length && /^\s*(where|filter|search)\b/.test(stages[at] ?? "")) at += 1;
  const added = ` where ${text} `;
  if (stages.slice(1, at).some((stage) => stage.trim() === added.trim())) return apl;
  const before = stages.slice(0, at).map((stage) => stage.trimEnd());
  const after = stages.slice(at).map((stage) => stage.trim());
  return [...before.map((stage, index) => (index ? stage.trim() : stage)), added.trim(), ...after].join("\n| ");
}

/** Return the stages of a query: what stands between the pipes that are in no text, comment or bracket. */
export function splitStages(apl: string): string[] {
  const stages: string[] = [];
  let begin = 0;
  let depth = 0;
  for (let at = 0; at < apl.length; at += 1) {
    const char = apl[at];
    if (char === '"' || char === "'") at = endOfText(apl, at);
    else if (char === "/" && apl[at + 1] === "/") at = endOfLine(apl, at);
    else if (char === "(" || char === "[" || char === "{") depth += 1;
    else if (char === ")" || char === "]" || char === "}") depth -= 1;
    else if (char === "|" && depth <= 0) {
      stages.push(apl.slice(begin, at));
      begin = at + 1;
    }
  }
  stages.push(apl.slice(begin));
  return stages;
}

function endOfText(apl: string, begin: number): number {
  const quote = apl[begin];
  const isVerbatim = apl[begin - 1] === "@";
  for (let at = begin + 1; at < apl.length; at += 1) {
    if (apl[at] === "\\" && !isVerbatim) at += 1;
    else if (apl[at] === quote) return at;
  }
  return apl.length;
}

function endOfLine(apl: string, begin: number): number {
  const end = apl.indexOf("\n", begin);
  return end < 0 ? apl.length : end;
}

/** Return the dataset that a query reads, null where that is no plain name. */
export function sourceOf(apl: string): string | null {
  const first = (splitStages(apl)[0] ?? "").replace(/\/\/.*$/gm, "").trim();
  const quoted = /^\[\s*(['"])((?:\\.|(?!\1).)*)\1\s*\]$/s.exec(first);
  if (quoted) return (quoted[2] ?? "").replace(/\\(.)/g, "$1");
  return /^[A-Za-z_][\w.-]*$/.test(first) ? first : null;
}

/** Return the query for the events of a dataset. */
export function queryOf(dataset: string): string {
  return aplDataset(dataset);
}

/** of the events of all datasets, the name of the dataset of each */
export const SOURCE_FIELD = "_dataset";

/** Return a query of the events of datasets, or of all where none are given, with the name of the dataset of each. */
export function unionQuery(names: readonly string[] = []): string {
  const read = names.length ? names.map(aplDataset).join(", ") : "*";
  return `union withsource=${SOURCE_FIELD} ${read}`;
}

/** Return the column with the name of the dataset that a query of several gives, null where it gives none. */
export function sourceFieldOf(apl: string): string | null {
  return /^\s*union\b[^|]*?\bwithsource\s*=\s*([A-Za-z_]\w*)/.exec(apl)?.[1] ?? null;
}

/** Return the first stages of a query, as long as they only filter: what its hits are counted by. */
export function filtersOf(apl: string): string {
  const stages = splitStages(apl);
  let at = 1;
  while (at < stages.length && /^\s*(where|filter|search|extend)\b/.test(stages[at] ?? "")) at += 1;
  return stages.slice(0, at).join("|").trim();
}

/** Whether a query gives events, not groups. */
export function givesEvents(apl: string): boolean {
  return !splitStages(apl)
    .slice(1)
    .some((stage) => /^\s*(summarize|count|make-series|top-nested|distinct|getschema)\b/.test(stage));
}

/** Return the dataset that a SELECT reads first, null where it names none. */
export function sqlSourceOf(sql: string): string | null {
  const found = /\bfrom\s+(?:"((?:[^"]|"")+)"|([a-z_]\w*))/i.exec(sql);
  return found ? (found[1]?.replaceAll('""', '"') ?? found[2] ?? null) : null;
}
