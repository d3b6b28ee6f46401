/** A table of things that are managed. */
import type { ComponentChildren } from "preact";

export interface RecordColumn<T> {
  title: string;
  cell: (record: T) => ComponentChildren;
  right?: boolean;
}

interface RecordsProps<T> {
  records: readonly T[];
  columns: readonly RecordColumn<T>[];
  id: (record: T) => string;
  /** where there are none */
  empty: string;
}

export function Records<T>({ records, columns, id, empty }: RecordsProps<T>) {
  if (!records.length) return <p class="empty">{empty}</p>;
  return (
    <section class="records-box" aria-label="Table" tabIndex={0}>
      <table class="records">
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} class={column.right ? "right" : undefined}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {records.map((record) => (
            <tr key={id(record)}>
              {columns.map((column) => (
                <td key={column.title} class={column.right ? "right" : undefined}>
                  {column.cell(record)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
