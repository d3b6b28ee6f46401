import { describe, expect, test } from "vitest";
import { aplSpan, around, binSeconds, fixedRange, rangeLabel, shifted, spanOf, timeOf } from "../src/time/range";

const NOW = Date.parse("2026-11-30T12:00:00Z");

describe("a time", () => {
  test.each([
    ["now", NOW],
    ["now-90s", NOW - 90e3],
    ["now-2w", NOW - 14 * 86400e3],
    ["2026-11-30T11:00:00.5Z", NOW - 3600e3 + 500],
    ["2026-11-30T13:00:00+01:00", NOW],
    ["yesterday", null],
    ["now-1y", null],
    ["", null],
  ])("%s", (text, expected) => expect(timeOf(text, NOW)).toBe(expected));
});

test("a range is none where its end is not after its start", () => {
  expect(spanOf({ start: "now-1h", end: "now" }, NOW)).toEqual({ startMs: NOW - 3600e3, endMs: NOW });
  expect(spanOf({ start: "now", end: "now" }, NOW)).toBeNull();
  expect(spanOf({ start: "now", end: "now-1h" }, NOW)).toBeNull();
  expect(spanOf({ start: "soon", end: "now" }, NOW)).toBeNull();
});

test("a range in words", () => {
  expect(rangeLabel({ start: "now-1h", end: "now" })).toBe("Last hour");
  expect(rangeLabel({ start: "now-15m", end: "now" })).toBe("Last 15 minutes");
  expect(rangeLabel({ start: "now-2h", end: "now-1h" })).toBe("now-2h – now-1h");
});

test("moved, around, fixed", () => {
  const span = { startMs: 1000, endMs: 3000 };
  expect(shifted(span, -1)).toEqual({ startMs: -1000, endMs: 1000 });
  expect(shifted(span, 0.5)).toEqual({ startMs: 2000, endMs: 4000 });
  expect(around(5000, 10)).toEqual({ startMs: 4990, endMs: 5010 });
  expect(fixedRange({ startMs: 0, endMs: 1 })).toEqual({
    start: "1970-01-01T00:00:00.000Z",
    end: "1970-01-01T00:00:00.001Z",
  });
});

describe("bins", () => {
  const hours = (count: number) => ({ startMs: 0, endMs: count * 3600e3 });
  test.each([
    [1, 60],
    [24, 1800],
    [24 * 30, 43200],
    [24 * 3650, 5184000],
  ])("of %i hours", (count, seconds) => expect(binSeconds(hours(count), 90)).toBe(seconds));

  test("of less than a second", () => {
    expect(binSeconds({ startMs: 0, endMs: 1000 }, 90)).toBeCloseTo(0.1);
    expect(binSeconds({ startMs: 0, endMs: 10 }, 90)).toBe(0.001);
  });

  test.each([
    [0.1, "100ms"],
    [1, "1s"],
    [90, "90s"],
    [1800, "30m"],
    [7200, "2h"],
    [172800, "2d"],
  ])("%f s as APL", (seconds, text) => expect(aplSpan(seconds)).toBe(text));
});
