import { expect, test } from "vitest";
import { columnsOf, MAX_COLUMNS, shownColumns, toggled } from "../src/result/columns";

const field = (name: string) => ({ name, type: "string" });

const GRID = {
  fields: [field("_time"), field("empty"), field("level"), field("message")],
  columns: [["t"], [null], ["info"], ["m"]],
  rows: 1,
};

test("the columns are the fields with a value, until some are chosen", () => {
  expect(shownColumns(GRID, null)).toEqual([0, 2, 3]);
  expect(shownColumns(GRID, ["message", "empty"])).toEqual([1, 3]);
  expect(shownColumns(GRID, ["of another query"])).toEqual([0, 2, 3]);
  expect(shownColumns({ ...GRID, columns: [[null], [null], [null], [null]] }, null)).toEqual([0, 1, 2, 3]);
});

test("no more are drawn than a table can show", () => {
  const many = Array.from({ length: 10_000 }, (_, index) => `f${index}`);
  const grid = { fields: many.map(field), columns: many.map(() => ["x"]), rows: 1 };
  expect(shownColumns(grid, null)).toHaveLength(MAX_COLUMNS);
  expect(shownColumns(grid, many)).toHaveLength(MAX_COLUMNS);
});

test("a column is left out and added again", () => {
  expect(toggled(GRID, null, "level")).toEqual(["_time", "message"]);
  expect(toggled(GRID, ["_time", "message"], "empty")).toEqual(["_time", "message", "empty"]);
});

test("what is in the address and names no fields chooses none", () => {
  expect(columnsOf('["a","b,c"]')).toEqual(["a", "b,c"]);
  for (const written of [null, "", "[", '{"a":1}', "3"]) expect(columnsOf(written)).toBeNull();
  expect(columnsOf('["a",3]')).toEqual(["a"]);
});
