"""Tools that say what there is: datasets, their fields and values, and the language."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from tailrace.agents.answers import AnswerTable, short, shown
from tailrace.agents.calls import Caller, segment
from tailrace.agents.queries import Dataset, End, Start, ask_apl, quoted

MAX_DATASETS = 100
MAX_FIELDS = 300
MAX_VALUED = 30  # fields whose values are shown
VALUED_TYPES = frozenset({"string", "integer", "boolean"})
MAX_VALUES = 20
LANGUAGE_PARTS = ("operators", "functions", "aggregations")


async def list_datasets(
    api: Caller,
    contains: Annotated[str, Field(description="Part of the names to list; empty for all.")] = "",
) -> dict[str, Any]:
    """List the datasets that can be queried, with what they hold. Begin here."""
    found = [each for each in await api.get("/v2/datasets") if contains.lower() in each["name"].lower()]
    rows = [[each["name"], each["kind"], each["description"]] for each in found]
    table = AnswerTable(["name", "kind", "description"], rows[:MAX_DATASETS], is_cut=len(rows) > MAX_DATASETS)
    return shown(table, "give a part of the name")


async def describe_dataset(
    api: Caller,
    dataset: Dataset,
    fields: Annotated[
        list[str] | None,
        Field(description=f"Fields whose values are shown, at most {MAX_VALUED}; the first if not given."),
    ] = None,
    top_values: Annotated[int, Field(ge=1, le=MAX_VALUES, description="Most frequent values of each.")] = 5,
    start: Start = "now-1d",
    end: End = "now",
) -> dict[str, Any]:
    """Describe a dataset: its fields with types, and of a time how many events there are and the frequent values."""
    known = await api.get(f"/v2/datasets/{segment(dataset)}/fields")
    types = {each["name"]: each["type"] for each in known if not each["hidden"]}
    missing = [name for name in fields or () if name not in types]
    if missing:
        raise ToolError(f"{dataset} has no field {missing[0]!r}: it has {', '.join(list(types)[:MAX_FIELDS])}")
    valued = fields or [name for name, kind in types.items() if kind in VALUED_TYPES]
    summary = "summarize events = count(), first = min(_time), last = max(_time)"
    tops = [f"top_{number} = topk({quoted(name)}, {top_values})" for number, name in enumerate(valued[:MAX_VALUED])]
    table, notes = await ask_apl(api, f"{quoted(dataset)} | {', '.join([summary, *tops])}", start, end, limit=1)
    row: Sequence[Any] = table.rows[0] if table.rows else [0, None, None]
    if len(valued) > MAX_VALUED:
        notes.append(f"values are shown of {MAX_VALUED} of {len(valued)} fields: name others by `fields`")
    if len(types) > MAX_FIELDS:
        notes.append(f"{MAX_FIELDS} of {len(types)} fields are shown")
    return {
        "dataset": dataset,
        "events": row[0],
        "first": row[1],
        "last": row[2],
        "fields": dict(list(types.items())[:MAX_FIELDS]),
        "top_values": {name: _values(value) for name, value in zip(valued, row[3:], strict=False)},
        "notes": notes,
    }


async def apl_help(
    api: Caller,
    names: Annotated[
        list[str] | None, Field(description="Operators or functions to explain; all are only named if not given.")
    ] = None,
) -> dict[str, Any]:
    """Explain operators and functions of APL, or name all of them."""
    language: Mapping[str, Any] = await api.get("/tailrace/v1/apl")
    parts = {part: language[part] for part in LANGUAGE_PARTS if part in language}
    if not names:
        return {part: [each["name"] for each in entries] for part, entries in parts.items()}
    wanted = {name.rstrip("()").lower() for name in names}
    found = [each for entries in parts.values() for each in entries if each["name"].lower() in wanted]
    unknown = sorted(wanted - {each["name"].lower() for each in found})
    return {"found": found, "notes": [f"APL has no {name}: call apl_help without names for all" for name in unknown]}


def _values(tops: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in tops or ():
        value = short(str(each["key"]))
        found[value] = found.get(value, 0) + each["count"]  # of long ones that begin alike
    return found
