import { describe, expect, test } from "vitest";
import { ExactNumber } from "../src/api/http";
import {
  filtersOf,
  givesEvents,
  sourceFieldOf,
  sourceOf,
  splitStages,
  sqlSourceOf,
  unionQuery,
  withCondition,
  withFilter,
} from "../src/query/filters";

describe("the stages of a query", () => {
  test.each([
    ["['a'] | where x == 'a|b' | take 5", ["['a'] ", " where x == 'a|b' ", " take 5"]],
    ['a | where x == "\\"|" | count', ["a ", ' where x == "\\"|" ', " count"]],
    ["a // b | c\n| take 1", ["a // b | c\n", " take 1"]],
    ["a | where y in ((b | distinct y)) | count", ["a ", " where y in ((b | distinct y)) ", " count"]],
    ["a | where x == @'\\' | count", ["a ", " where x == @'\\' ", " count"]],
    ["a | where x == 'open | count", ["a ", " where x == 'open | count"]],
  ])("%s", (apl, stages) => expect(splitStages(apl)).toEqual(stages));
});

describe("a filter", () => {
  test("stands behind the source and the other filters", () => {
    expect(withFilter("['a']", "level", "string", "error", false)).toBe(`['a']\n| where level == "error"`);
    expect(withFilter("['a'] | where b == 1 | summarize count() by c", "level", "string", "x", true)).toBe(
      `['a']\n| where b == 1\n| where level != "x"\n| summarize count() by c`,
    );
  });
  test("is not put in twice", () => {
    const once = withFilter("['a']", "n", "integer", 1, false) ?? "";
    expect(withFilter(once, "n", "integer", 1, false)).toBe(once);
  });
  test.each([
    ['it\'s "quoted"\n\\', "string", `['x y'] == "it's \\"quoted\\"\\n\\\\"`],
    [true, "boolean", "['x y'] == true"],
    [1.5, "float", "['x y'] == 1.5"],
    [new ExactNumber("9007199254740993"), "integer", "['x y'] == 9007199254740993"],
    ["2026-11-30T00:00:00Z", "datetime", "['x y'] == datetime(2026-11-30T00:00:00Z)"],
    [null, "string", "isnull(['x y'])"],
  ])("of %s", (value, type, condition) =>
    expect(withFilter("a", "x y", type, value, false)).toBe(`a\n| where ${condition}`),
  );
  test("of an array there is none", () => expect(withFilter("a", "tags", "array", [1], false)).toBeNull());
  test("of a condition", () =>
    expect(withCondition("a | count", "isnotnull(b)")).toBe("a\n| where isnotnull(b)\n| count"));
});

test("the dataset of a query", () => {
  expect(sourceOf("['my data'] | count")).toBe("my data");
  expect(sourceOf(`["it\\'s"]`)).toBe("it's");
  expect(sourceOf("// note\nlogs | count")).toBe("logs");
  expect(sourceOf("union a, b")).toBeNull();
  expect(sourceOf("print 1")).toBeNull();
});

test("what counts the hits of a query are its first filters", () => {
  expect(filtersOf("a | where b == 1 | extend c = 2 | where c == 2 | summarize count() | where count_ > 1")).toBe(
    "a | where b == 1 | extend c = 2 | where c == 2",
  );
  expect(filtersOf("a")).toBe("a");
});

test("whether a query gives events", () => {
  expect(givesEvents("a | where b == 'summarize' | project b")).toBe(true);
  expect(givesEvents("a | summarize count()")).toBe(false);
});

test("the dataset of a SELECT", () => {
  expect(sqlSourceOf('SELECT * FROM "my ""data""" LIMIT 1')).toBe('my "data"');
  expect(sqlSourceOf("select count(*)\nfrom logs where x")).toBe("logs");
  expect(sqlSourceOf("SELECT 1")).toBeNull();
});

test("a query of all datasets says which column has the name of each", () => {
  expect(sourceFieldOf(unionQuery())).toBe("_dataset");
  expect(unionQuery(["a", "b'c"])).toBe("union withsource=_dataset ['a'], ['b\\'c']");
  expect(sourceFieldOf("union kind=outer withsource = d logs*, b | where x == 1")).toBe("d");
  for (const apl of [
    "union a, b",
    "['union withsource=a']",
    "a | where x == 'union withsource=b'",
    "union a | extend withsource=b",
  ])
    expect(sourceFieldOf(apl)).toBeNull();
});
