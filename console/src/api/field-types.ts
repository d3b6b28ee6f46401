/** The types of the fields of datasets, asked for once. */
import { ApiError, ask } from "./http";

type Types = ReadonlyMap<string, string>;

const known = new Map<string, Promise<Types>>();

/** Return the types of a dataset's fields by their names; none where they may not be read. */
export function fieldTypes(dataset: string): Promise<Types> {
  let types = known.get(dataset);
  if (!types) {
    types = readTypes(dataset);
    known.set(dataset, types);
  }
  return types;
}

async function readTypes(dataset: string): Promise<Types> {
  try {
    const fields = await ask<{ name: string; type: string }[]>(`/v2/datasets/${encodeURIComponent(dataset)}/fields`);
    return new Map(fields.map(({ name, type }) => [name, type]));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    known.delete(dataset);
    return new Map();
  }
}
