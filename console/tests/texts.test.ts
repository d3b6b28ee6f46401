import { describe, expect, test } from "vitest";
import { aplName } from "../src/api/apl";
import { eventOf } from "../src/api/events";
import { stretchesOf } from "../src/monitors/types";
import { tokenOf } from "../src/query/language";
import { withAction } from "../src/settings/capability-fields";
import { parseMetrics, sumBy } from "../src/settings/metrics";
import { isSound, type Member, memberValue } from "../src/settings/resource";

test("names as APL has them", () => {
  expect(aplName("http.status")).toBe("http.status");
  expect(aplName("a b")).toBe("['a b']");
  expect(aplName("it's\\")).toBe("['it\\'s\\\\']");
  expect(aplName("1st")).toBe("['1st']");
});

test("server-sent events", () => {
  expect(eventOf('event: missed\ndata: {"count": 3}')).toEqual({ name: "missed", data: '{"count": 3}' });
  expect(eventOf("data: a\ndata: b")).toEqual({ name: "message", data: "a\nb" });
  expect(eventOf(": heartbeat")).toBeNull();
});

test("metrics", () => {
  const samples = parseMetrics('# HELP a b\na{x="1",y="q\\"\\n"} 2\na{x="2"} 3.5\nb 1e3\nbroken line here\n');
  expect(samples).toEqual([
    { name: "a", labels: { x: "1", y: 'q"\n' }, value: 2 },
    { name: "a", labels: { x: "2" }, value: 3.5 },
    { name: "b", labels: {}, value: 1000 },
  ]);
  expect(sumBy(samples, "a").get("")).toBe(5.5);
  expect([...sumBy(samples, "a", "x")]).toEqual([
    ["1", 2],
    ["2", 3.5],
  ]);
});

/** As CodeMirror's stream. */
function tokens(line: string): [string, string | null][] {
  const found: [string, string | null][] = [];
  let at = 0;
  const stream = {
    eatSpace: () => {
      const before = at;
      while (line[at] === " ") at += 1;
      return at > before;
    },
    match: (pattern: RegExp) => {
      const match = line.slice(at).match(pattern);
      if (!match) return null;
      at += match[0].length;
      return match;
    },
    next: () => line[at++],
  };
  while (at < line.length) {
    const begin = at;
    const kind = tokenOf(stream);
    if (line.slice(begin, at).trim()) found.push([line.slice(begin, at), kind]);
  }
  return found;
}

describe("the parts of a query", () => {
  test.each<[string, [string, string | null][]]>([
    [
      "| where n >= 10m",
      [
        ["|", "operator"],
        ["where", "keyword"],
        ["n", null],
        [">=", "operator"],
        ["10m", "number"],
      ],
    ],
    [
      "count() // all",
      [
        ["count", "keyword"],
        ["(", null],
        [")", null],
        ["// all", "comment"],
      ],
    ],
    [
      "avg(x) == 'a\\'b'",
      [
        ["avg", "function"],
        ["(", null],
        ["x", null],
        [")", null],
        ["==", "operator"],
        ["'a\\'b'", "string"],
      ],
    ],
    [
      "| project-away a",
      [
        ["|", "operator"],
        ["project-away", "keyword"],
        ["a", null],
      ],
    ],
    ["'open", [["'open", "string"]]],
  ])("%s", (line, expected) => expect(tokens(line)).toEqual(expected));
});

test("the stretches of a monitor's day", () => {
  const at = (ms: number) => new Date(ms).toISOString();
  const entry = (ms: number, kind: string, group = "") => ({ timestamp: at(ms), kind, text: "", group, value: null });
  const found = stretchesOf(
    [entry(10, "closed"), entry(20, "open", "a"), entry(25, "open", "b"), entry(30, "closed", "a"), entry(50, "error")],
    0,
    100,
  );
  expect(found).toEqual([
    { from: 0, to: 0.1, kind: "open" },
    { from: 0.2, to: 0.3, kind: "open" },
    { from: 0.5, to: 0.5, kind: "error" },
    { from: 0.25, to: 1, kind: "open" },
  ]);
});

test("members of a form", () => {
  const member = (kind: Member["kind"], required = false): Member => ({ name: "a", title: "A", kind, required });
  expect(memberValue(member("text"), " a ")).toBe("a");
  expect(memberValue(member("list"), "a, ,b")).toEqual(["a", "b"]);
  expect(memberValue(member("capabilities"), '{"query":["read"]}')).toEqual({ query: ["read"] });
  expect(isSound(member("text", true), " ")).toBe(false);
  expect(isSound(member("list"), "")).toBe(true);
});

test("a capability is held with its actions in their order, and not without one", () => {
  const held = withAction({ query: ["read"], views: ["update"] }, "views", "create", true);
  expect(held).toEqual({ query: ["read"], views: ["create", "update"] });
  expect(withAction(held, "query", "read", false)).toEqual({ views: ["create", "update"] });
});
