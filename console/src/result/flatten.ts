/** An event's nested objects as fields whose names have dots, as queries have them. */
import { ExactNumber } from "../api/http";

/** Return the fields of an event; arrays and empty objects stay whole. */
export function flattened(
  event: Record<string, unknown>,
  prefix = "",
  into: Record<string, unknown> = {},
): Record<string, unknown> {
  for (const [name, value] of Object.entries(event)) {
    const isObject =
      typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber);
    if (isObject && Object.keys(value).length) flattened(value as Record<string, unknown>, `${prefix}${name}.`, into);
    else into[prefix + name] = value;
  }
  return into;
}
