import { expect, test } from "vitest";
import {
  type Cell,
  COLUMNS,
  compacted,
  completeLayout,
  overlaps,
  placed,
  queryTime,
  rearranged,
  windowTime,
} from "../src/dashboards/types";

const cell = (i: string, x: number, y: number, w = 6, h = 4): Cell => ({ i, x, y, w, h });
const chart = (id: string) => ({ id, type: "TimeSeries" });

function sound(cells: Cell[]): void {
  for (const a of cells) {
    expect(a.x).toBeGreaterThanOrEqual(0);
    expect(a.x + a.w).toBeLessThanOrEqual(COLUMNS);
    for (const b of cells) if (a.i < b.i) expect(overlaps(a, b)).toBe(false);
  }
}

test("each chart has a cell, and no other has", () => {
  const cells = completeLayout([chart("a"), chart("b"), chart("c")], [cell("b", 0, 0), cell("gone", 6, 0)]);
  expect(cells.map(({ i }) => i).sort()).toEqual(["a", "b", "c"]);
  sound(cells);
});

test("cells of a document that make no sense are bounded", () => {
  const [found] = completeLayout([chart("a")], [{ i: "a", x: 99, y: -5, w: 40, h: Number.NaN } as Cell]);
  expect(found).toEqual({ i: "a", x: 0, y: 0, w: 12, h: 8 });
});

test("a new cell stands beside the last where there is room, else below", () => {
  expect(placed([cell("a", 0, 0)], "b")).toMatchObject({ x: 6, y: 0 });
  expect(placed([cell("a", 0, 0), cell("b", 6, 0)], "c")).toMatchObject({ x: 0, y: 4 });
});

test("what is in the way of a moved cell goes below it", () => {
  const before = [cell("a", 0, 0), cell("b", 6, 0), cell("c", 0, 4, 12)];
  const after = rearranged(before, { ...cell("a", 6, 0) });
  sound(after);
  expect(after.find(({ i }) => i === "a")).toMatchObject({ x: 6, y: 0 });
  expect(after.find(({ i }) => i === "b")).toMatchObject({ x: 6, y: 4 });
});

test("moves and sizes of any kind leave a sound layout without gaps", () => {
  let seed = 7;
  const random = (most: number) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % most;
  };
  let cells = Array.from({ length: 8 }, (_, index) => cell(String(index), (index % 2) * 6, Math.floor(index / 2) * 4));
  for (let round = 0; round < 300; round += 1) {
    const one = cells[random(cells.length)] as Cell;
    cells = rearranged(cells, { ...one, x: random(14) - 1, y: random(20) - 1, w: random(14), h: random(10) });
    sound(cells);
    expect(compacted(cells)).toEqual(cells);
  }
});

test("times of a dashboard and of a query", () => {
  expect(queryTime("qr-now-1h", "now")).toBe("now-1h");
  expect(queryTime(undefined, "now")).toBe("now");
  expect(windowTime("now-1h")).toBe("qr-now-1h");
  expect(windowTime("2026-01-01T00:00:00Z")).toBe("2026-01-01T00:00:00Z");
});
