/** Answers as the server gives them, of one table. */
import type { Answer, Table } from "../src/api/apl";

export function answer(table: Partial<Table>, more: Partial<Answer> = {}): Answer {
  const status = {
    elapsedTime: 1,
    rowsExamined: 0,
    rowsMatched: 0,
    blocksExamined: 0,
    blocksMatched: 0,
    blocksSkipped: 0,
    isPartial: false,
  };
  return { status, tables: [{ name: "0", fields: [], groups: [], columns: [], ...table }], ...more };
}
