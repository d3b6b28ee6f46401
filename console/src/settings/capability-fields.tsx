/** What a role may do, by boxes to be ticked. */
import { useState } from "preact/hooks";
import { datasets } from "../datasets";
import names from "./capabilities.json";

export type Capabilities = Record<string, string[]>;
export type Scope = "dataset" | "organisation" | "view";

const ACTIONS = ["create", "read", "update", "delete"];
const EVERY = "*";
const KNOWN: Record<Scope, Capabilities> = names;

/** Return the capabilities with one action more, or one less; a capability without an action is left out. */
export function withAction(before: Capabilities, capability: string, action: string, allowed: boolean): Capabilities {
  const held = new Set(before[capability] ?? []);
  if (allowed) held.add(action);
  else held.delete(action);
  const { [capability]: _, ...others } = before;
  const ordered = ACTIONS.filter((each) => held.has(each));
  return ordered.length ? { ...others, [capability]: ordered } : others;
}

interface MatrixProps {
  scope: Scope;
  /** what it is for, said before each box */
  title: string;
  value: Capabilities;
  onChange: (value: Capabilities) => void;
}

/** A row for each capability and a box for each of its actions. */
export function CapabilityMatrix({ scope, title, value, onChange }: MatrixProps) {
  const rows = { ...Object.fromEntries(Object.keys(value).map((name) => [name, value[name] ?? []])), ...KNOWN[scope] };
  return (
    <table class="matrix">
      <caption class="visually-hidden">{title}</caption>
      <thead>
        <tr>
          <th scope="col">{title}</th>
          {ACTIONS.map((action) => (
            <th key={action} scope="col">
              {action}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {Object.entries(rows).map(([capability, actions]) => (
          <tr key={capability}>
            <th scope="row">{capability}</th>
            {ACTIONS.map((action) => (
              <td key={action}>
                {actions.includes(action) && (
                  <input
                    type="checkbox"
                    aria-label={`${title}: ${action} ${capability}`}
                    checked={(value[capability] ?? []).includes(action)}
                    onChange={(event) => onChange(withAction(value, capability, action, event.currentTarget.checked))}
                  />
                )}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface NamedProps {
  scope: "dataset" | "view";
  value: Record<string, Capabilities>;
  onChange: (value: Record<string, Capabilities>) => void;
}

/** A matrix for every dataset or view, and one for each that is named. */
export function NamedCapabilities({ scope, value, onChange }: NamedProps) {
  const [typed, setTyped] = useState("");
  const add = (name: string) => {
    if (name && !Object.hasOwn(value, name)) onChange({ ...value, [name]: {} });
    setTyped("");
  };
  return (
    <>
      {Object.entries(value).map(([name, held]) => (
        <div key={name} class="matrix-of">
          <CapabilityMatrix
            scope={scope}
            title={name === EVERY ? `Every ${scope}` : name}
            value={held}
            onChange={(changed) => onChange({ ...value, [name]: changed })}
          />
          <button
            type="button"
            class="button small"
            onClick={() => onChange(Object.fromEntries(Object.entries(value).filter(([other]) => other !== name)))}
          >
            Without {name === EVERY ? `every ${scope}` : name}
          </button>
        </div>
      ))}
      <div class="row">
        {!Object.hasOwn(value, EVERY) && (
          <button type="button" class="button small" onClick={() => add(EVERY)}>
            For every {scope}
          </button>
        )}
        <input
          class="input"
          list={`names-${scope}`}
          aria-label={`Name of a ${scope}`}
          placeholder={`Name of a ${scope}`}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        {scope === "dataset" && (
          <datalist id="names-dataset">
            {datasets.value.map(({ name }) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        )}
        <button type="button" class="button small" disabled={!typed.trim()} onClick={() => add(typed.trim())}>
          Add
        </button>
      </div>
    </>
  );
}
