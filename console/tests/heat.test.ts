import { describe, expect, test } from "vitest";
import type { Table } from "../src/api/apl";
import { colourOfLevel, type HeatChart, levelOf, levelsOf } from "../src/result/heat";
import { chartOf } from "../src/result/series";
import { answer } from "./answers";

const histogram = { name: "h", type: "array", agg: { name: "histogram", fields: ["duration"] } };
const buckets = (...counts: number[]) => counts.map((count, at) => ({ from: at * 10, to: at * 10 + 10, count }));
const [FIRST, SECOND] = ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"];

function heat(table: Partial<Table>): HeatChart {
  const chart = chartOf(answer(table, { datasetNames: ["traces"] }));
  if (chart?.kind !== "heat") throw new Error(`it is drawn as ${chart?.kind}`);
  return chart;
}

describe("histograms", () => {
  test("over time are a heat map, each column as wide as the server's bins", () => {
    const chart = heat({
      fields: [{ name: "_time", type: "datetime" }, histogram],
      groups: [{ name: "_time" }],
      buckets: { field: "_time", size: 60e9 },
      columns: [
        [SECOND, FIRST],
        [buckets(3, 4), buckets(1, 2)],
      ],
    });
    expect(chart.times).toEqual([1767225600, 1767225660]);
    expect(chart.counts).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(chart).toMatchObject({ stepS: 60, most: 4, added: [], field: { dataset: "traces", name: "duration" } });
    expect(chart.bins).toEqual([
      { from: 0, to: 10 },
      { from: 10, to: 20 },
    ]);
  });
  test("over time and a field are added up over the field, which is said", () => {
    const chart = heat({
      fields: [{ name: "_time", type: "datetime" }, { name: "by", type: "string" }, histogram],
      groups: [{ name: "_time" }, { name: "by" }],
      columns: [
        [FIRST, FIRST],
        ["a", "b"],
        [buckets(1, 2), []],
      ],
    });
    expect(chart.counts).toEqual([[1, 2]]);
    expect(chart.added).toEqual(["by"]);
  });
  test("of groups are a column for each, in their order, whatever they are called", () => {
    const names = ["b", "__proto__", null];
    const chart = heat({
      fields: [
        { name: "by", type: "string" },
        { ...histogram, agg: { name: "histogram" } },
      ],
      groups: [{ name: "by" }],
      columns: [names, names.map((_, at) => buckets(at))],
    });
    expect(chart.names).toEqual(["b", "__proto__", "none"]);
    expect(chart.counts).toEqual([[0], [1], [2]]);
    expect(chart).toMatchObject({ times: null, field: null, most: 2 });
  });
  test("without groups are one column", () => {
    expect(heat({ fields: [histogram], columns: [[buckets(7)]] })).toMatchObject({ names: [""], counts: [[7]] });
  });
  test("are told by what they hold: other arrays, and none, are drawn otherwise", () => {
    for (const value of [[], [1, 2], [{ from: 1, to: 2 }], [{ from: null, to: 1, count: 1 }], null])
      expect(chartOf(answer({ fields: [histogram], columns: [[value]] }, { datasetNames: ["traces"] }))).toBeNull();
  });
});

test("the levels of colour are by factors, none without a count", () => {
  expect(levelsOf(0)).toEqual([]);
  expect(levelsOf(1)).toEqual([1]);
  expect(levelsOf(3)).toEqual([1, 2, 3]);
  expect(levelsOf(999_999)).toEqual([1, 10, 100, 1000, 10_000, 100_000]);
  const levels = levelsOf(3);
  expect([0, 1, 2, 3].map((count) => levelOf(count, levels))).toEqual([0, 1, 2, 3]);
  expect([1, 2, 3].map((level) => colourOfLevel(level, levels))).toEqual([1, 4, 6]);
  expect(colourOfLevel(1, [1])).toBe(6);
});
