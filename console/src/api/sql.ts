/** Queries in SQL, whose answers are shown as those in APL. */
import type { Answer, Cell, Field } from "./apl";
import { ask } from "./http";

export const SQL_PATH = "/tailrace/v1/sql";

interface SqlAnswer {
  fields: Field[];
  rows: Record<string, Cell>[];
  rowCount: number;
  elapsedMs: number;
}

/** Return the answer to one SELECT; raise ApiError. */
export async function runSql(sql: string, signal: AbortSignal): Promise<Answer> {
  const answer = await ask<SqlAnswer>(SQL_PATH, { method: "POST", body: { sql }, signal });
  const columns = answer.fields.map(({ name }) => answer.rows.map((row) => row[name] ?? null));
  return {
    status: {
      elapsedTime: answer.elapsedMs * 1000,
      rowsExamined: 0,
      rowsMatched: answer.rowCount,
      blocksExamined: 0,
      blocksMatched: 0,
      blocksSkipped: 0,
      isPartial: false,
    },
    // Neither grouped nor of events: the columns stay in their order.
    tables: [{ name: "0", fields: answer.fields, groups: [], columns, isOrdered: true }],
  };
}
