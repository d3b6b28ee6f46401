/** Choosing a dataset: with how much it holds, and when its last event was. */
import { useState } from "preact/hooks";
import { type Dataset, loadStatistics, readable, statistics } from "../datasets";
import { ago, compact } from "../format/values";
import { Icon } from "./icons";
import { Menu, MenuSearch } from "./menu";

interface DatasetMenuProps {
  chosen: string | null;
  onChoose: (name: string) => void;
  /** all that may be asked where it is not given */
  offered?: readonly Dataset[];
}

export function DatasetMenu({ chosen, onChoose, offered = readable.value }: DatasetMenuProps) {
  return (
    <Menu
      title="Choose a dataset"
      label={
        <>
          <b class="dataset-name">{chosen ?? "Dataset"}</b> <Icon name="chevron" size={14} />
        </>
      }
    >
      {(close) => (
        <Choices
          chosen={chosen}
          offered={offered}
          onChoose={(name) => {
            close();
            onChoose(name);
          }}
        />
      )}
    </Menu>
  );
}

function Choices({ chosen, onChoose, offered = [] }: DatasetMenuProps) {
  const [typed, setTyped] = useState("");
  useState(() => void loadStatistics());
  const found = offered.filter((each) => each.name.toLowerCase().includes(typed.toLowerCase()));
  return (
    <>
      <MenuSearch what="a dataset" typed={typed} onType={setTyped} />
      <div class="menu-list">
        {found.map((each) => {
          const known = statistics.value.get(each.name);
          return (
            <button
              key={each.name}
              type="button"
              class="menu-item"
              aria-checked={each.name === chosen}
              role="menuitemradio"
              onClick={() => onChoose(each.name)}
            >
              <span class="ellipsis grow">{each.name}</span>
              {known && (
                <span class="muted">
                  {compact(known.numEvents)}
                  {known.maxTime && ` · ${ago(Date.parse(known.maxTime), Date.now())}`}
                </span>
              )}
            </button>
          );
        })}
      </div>
    </>
  );
}
