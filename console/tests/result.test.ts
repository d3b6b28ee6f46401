import { describe, expect, test } from "vitest";
import { parseExact } from "../src/api/http";
import { bytes, cellText, duration, eventTime } from "../src/format/values";
import { flattened } from "../src/result/flatten";
import { compared } from "../src/result/order";
import { chartOf } from "../src/result/series";
import { gridOf, rowOf, severityOf } from "../src/result/table";
import { answer } from "./answers";

const field = (name: string, type = "string") => ({ name, type });

test("events show the time, the level and the message first, and no cursor", () => {
  const grid = gridOf(
    answer({
      fields: [field("_sysTime"), field("a"), field("message"), field("_cursor"), field("_time"), field("level")],
      columns: [["s"], ["A"], ["M"], ["c"], ["T"], [null]],
    }),
  );
  expect(grid.fields.map(({ name }) => name)).toEqual(["_time", "level", "message", "a", "_sysTime"]);
  expect(rowOf(grid, 0)).toEqual({ _time: "T", message: "M", a: "A", _sysTime: "s" });
  expect(rowOf(grid, 0, 2)).toEqual({ _time: "T", message: "M" });
});

describe("what is drawn", () => {
  test("one row of numbers is numbers", () => {
    const chart = chartOf(answer({ fields: [field("n", "integer"), field("p", "float")], columns: [[3], [1.5]] }));
    expect(chart?.kind).toBe("number");
  });
  test("groups over time are series, with gaps where there is none", () => {
    const chart = chartOf(
      answer({
        fields: [field("_time", "datetime"), field("by"), field("n", "integer")],
        groups: [{ name: "_time" }, { name: "by" }],
        columns: [
          ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"],
          ["a", "b", "a"],
          [1, 20, 3],
        ],
      }),
    );
    expect(chart).toEqual({
      kind: "time",
      times: [1767225600, 1767225660],
      series: [
        { name: "b", values: [20, null], sum: 20 },
        { name: "a", values: [1, 3], sum: 4 },
      ],
      total: 2,
    });
  });
  test("other groups are a list of the largest", () => {
    const chart = chartOf(
      answer({
        fields: [field("by"), field("n", "integer")],
        groups: [{ name: "by" }],
        columns: [
          ["a", null],
          [1, 5],
        ],
      }),
    );
    expect(chart).toEqual({
      kind: "top",
      measure: "n",
      bars: [
        { name: "none", value: 5 },
        { name: "a", value: 1 },
      ],
    });
  });
  test("events are not drawn", () => {
    expect(
      chartOf(
        answer({
          fields: [field("_time", "datetime"), field("n", "integer")],
          columns: [["2026-01-01T00:00:00Z"], [1]],
        }),
      ),
    ).toBeNull();
  });
});

test("how severe a level is", () => {
  expect(["ERROR", "warning", "Info", "trace", "fatal", 503, 404, "lots"].map(severityOf)).toEqual([
    "error",
    "warn",
    "info",
    "debug",
    "fatal",
    "error",
    "warn",
    "none",
  ]);
});

test("integers that a double would round stay what they are", () => {
  const value = parseExact('{"id": 9007199254740993, "n": 1, "text": "9007199254740993"}') as Record<string, unknown>;
  expect(String(value.id)).toBe("9007199254740993");
  expect(value.n).toBe(1);
  expect(value.text).toBe("9007199254740993");
});

test("nested objects are fields with dots", () => {
  expect(flattened({ a: { b: { c: 1 }, d: [1] }, e: {}, f: null })).toEqual({ "a.b.c": 1, "a.d": [1], e: {}, f: null });
});

test("values as text", () => {
  expect(duration(999)).toBe("999 µs");
  expect(duration(1234)).toBe("1.23 ms");
  expect(duration(90e6)).toBe("1 min 30 s");
  expect(bytes(1234567)).toBe("1.2 MB");
  expect(cellText({ a: 1 }, "map")).toBe('{"a":1}');
  expect(cellText("x".repeat(600), "string").length).toBe(501);
  expect(cellText(null, "string")).toBe("");
  expect(eventTime("2026-11-30T00:00:00.123456789Z")).toMatch(/\.123456789$/);
  expect(eventTime("no time")).toBe("no time");
});

test("what there is none of is sorted last either way", () => {
  for (const sign of [1, -1]) expect(compared(null, 1, sign)).toBeGreaterThan(0);
  expect([10, 9, 2].sort((a, b) => compared(a, b, 1))).toEqual([2, 9, 10]);
  expect(["a10", "a9"].sort((a, b) => compared(a, b, 1))).toEqual(["a9", "a10"]);
});
