import { describe, expect, test } from "vitest";
import { durationMs, type Span, spanOfEvent, timeMs, traceOf } from "../src/traces/trace";

function span(id: string, parent: string, startMs: number, durationMs = 10): Span {
  return { id, parent, name: id, service: "s", kind: "", error: false, startMs, durationMs, event: {} };
}

test("a span stands after its parent, siblings by their start", () => {
  const trace = traceOf([span("d", "b", 3), span("c", "a", 5), span("b", "a", 2), span("a", "", 1, 100)]);
  expect(trace.rows.map(({ span: each, depth }) => [each.id, depth])).toEqual([
    ["a", 0],
    ["b", 1],
    ["d", 2],
    ["c", 1],
  ]);
  expect([trace.startMs, trace.endMs]).toEqual([1, 101]);
});

test("a span whose parent is missing is a root, and says so", () => {
  const [row] = traceOf([span("a", "gone", 1)]).rows;
  expect(row).toMatchObject({ depth: 0, isOrphan: true });
});

test("spans in a circle end nothing and are all there", () => {
  const trace = traceOf([span("a", "b", 1), span("b", "a", 2), span("c", "b", 3), span("self", "self", 4)]);
  expect(trace.rows.map(({ span: each }) => each.id).sort()).toEqual(["a", "b", "c", "self"]);
});

test("ten thousand spans in a chain are no recursion", () => {
  const chain = Array.from({ length: 10_000 }, (_, index) =>
    span(String(index), index ? String(index - 1) : "", index),
  );
  expect(traceOf(chain).rows.at(-1)?.depth).toBe(9999);
});

describe("a duration", () => {
  test.each([
    [1_500_000, 1.5],
    ["00:00:01.5000000", 1500],
    ["1.00:00:00", 86400e3],
    ["1m2.5s", 62500],
    ["15ms", 15],
    [null, 0],
    ["", 0],
  ])("%s", (value, ms) => expect(durationMs(value)).toBe(ms));
});

test("a time keeps what is finer than ms", () => {
  expect(timeMs("1970-01-01T00:00:01.123456Z")).toBeCloseTo(1123.456, 6);
});

test("an event of a span", () => {
  const found = spanOfEvent({
    span_id: "a",
    name: "n",
    "service.name": "web",
    "status.code": "ERROR",
    duration: 2e6,
    _time: "1970-01-01T00:00:00Z",
  });
  expect(found).toMatchObject({ id: "a", parent: "", service: "web", error: true, durationMs: 2, startMs: 0 });
});
