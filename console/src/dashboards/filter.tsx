/** A filter of a dashboard: a value for a parameter of its queries. */
import { runApl } from "../api/apl";
import { gridOf, rowOf } from "../result/table";
import { useLoaded } from "../ui/loaded";
import type { FilterDefinition } from "./types";

/** Return the value that a filter has until one is chosen. */
export function defaultOf(definition: FilterDefinition): string {
  return definition.options?.find((option) => option.default)?.value ?? "";
}

interface FilterProps {
  definition: FilterDefinition;
  value: string;
  onChange: (value: string) => void;
}

export function Filter({ definition, value, onChange }: FilterProps) {
  const apl = typeof definition.apl === "string" ? definition.apl : definition.apl?.apl;
  const asked = useLoaded(async () => {
    if (!apl) return [];
    const grid = gridOf(await runApl({ apl, startTime: "now-1d", endTime: "now" }));
    return Array.from({ length: grid.rows }, (_, row) => {
      const { key, value: given } = rowOf(grid, row);
      return { key: String(key ?? given ?? ""), value: String(given ?? key ?? "") };
    });
  }, [apl]);
  const title = definition.name || definition.id;
  const options = [...(definition.options ?? []), ...(asked.value ?? [])];
  if (definition.type === "search")
    return (
      <input
        class="input"
        aria-label={title}
        placeholder={title}
        value={value}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    );
  return (
    <label class="row">
      {title}
      <select class="input" value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {!options.some((option) => option.value === "") && <option value="">all</option>}
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.key}
          </option>
        ))}
      </select>
    </label>
  );
}
