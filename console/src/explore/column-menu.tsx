/** Choosing the columns of the table. */
import { useState } from "preact/hooks";
import { MAX_COLUMNS, shownColumns, toggled } from "../result/columns";
import type { Grid } from "../result/table";
import { Icon } from "../ui/icons";
import { Menu, MenuSearch } from "../ui/menu";
import * as state from "./state";

const MOST_OFFERED = 200; // of the fields that fit what is typed

export function ColumnMenu({ grid }: { grid: Grid }) {
  return (
    <Menu className="button small quiet icon" title="Columns" label={<Icon name="fields" />}>
      {() => <Columns grid={grid} />}
    </Menu>
  );
}

function Columns({ grid }: { grid: Grid }) {
  const [typed, setTyped] = useState("");
  const chosen = state.columns.value;
  const drawn = new Set(shownColumns(grid, chosen).map((index) => grid.fields[index]?.name));
  const found = grid.fields.filter(({ name }) => name.toLowerCase().includes(typed.toLowerCase()));
  return (
    <>
      <MenuSearch what="a field" typed={typed} onType={setTyped} />
      <div class="menu-list">
        {found.slice(0, MOST_OFFERED).map(({ name }) => {
          const isDrawn = drawn.has(name);
          const isLast = isDrawn && drawn.size === 1;
          return (
            <button
              key={name}
              type="button"
              class="menu-item"
              aria-pressed={isDrawn}
              disabled={isLast || (!isDrawn && drawn.size >= MAX_COLUMNS)}
              onClick={() => state.chooseColumns(toggled(grid, chosen, name))}
            >
              <span class="menu-mark" aria-hidden="true">
                {isDrawn ? "✓" : ""}
              </span>
              <span class="ellipsis">{name}</span>
            </button>
          );
        })}
        {found.length > MOST_OFFERED && <p class="muted menu-note">{found.length - MOST_OFFERED} more fit</p>}
      </div>
      <button type="button" class="menu-item" disabled={chosen === null} onClick={() => state.chooseColumns(null)}>
        Those with a value
      </button>
    </>
  );
}
