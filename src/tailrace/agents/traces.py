"""Tools for traces, as OpenTelemetry's spans make them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from tailrace.agents.answers import AnswerTable, shown
from tailrace.agents.calls import Api, Caller, segment
from tailrace.agents.queries import Condition, Dataset, End, Start, ask_apl, quoted, source

MAX_TRACES = 100
MAX_SPANS = 1000
NEEDED = ("trace_id", "span_id", "duration")  # fields that every dataset of spans has
MORE = frozenset({"parent_span_id", "name", "service.name", "error"})  # that it may have


async def find_traces(
    api: Caller,
    dataset: Dataset,
    condition: Condition = "",
    start: Start = "now-1h",
    end: End = "now",
    slowest_first: Annotated[bool, Field(description="Order by duration; otherwise the latest first.")] = False,
    limit: Annotated[int, Field(ge=1, le=MAX_TRACES, description="Most traces of the answer.")] = 20,
) -> dict[str, Any]:
    """Find traces that have spans which meet a condition, such as error == true or duration > 1s: of each how many such
    spans there are, their longest one, and errors. get_trace has the whole of one.
    """
    fields = await _fields(api, dataset)
    shown_fields = [name for name in ("name", "service.name") if name in fields]
    longest = ", ".join(["duration", *(quoted(name) for name in shown_fields)])
    errors = ", errors = countif(error == true)" if "error" in fields else ""
    summary = f"summarize spans = count(){errors}, start = min(_time), arg_max({longest}) by trace_id"
    order = "duration" if slowest_first else "start"
    apl = f"{source(dataset, condition)} | {summary} | top {limit + 1} by {order}"
    table, notes = await ask_apl(api, apl, start, end, limit=limit + 1)
    cut = AnswerTable(table.columns, table.rows[:limit], is_cut=len(table.rows) > limit)
    return shown(cut, f"narrow the time or the condition, or give a limit up to {MAX_TRACES}", notes)


async def get_trace(
    api: Caller,
    dataset: Dataset,
    trace_id: Annotated[str, Field(description="As find_traces or a log event has it.")],
    start: Start = "now-1d",
    end: End = "now",
) -> dict[str, Any]:
    """Return the spans of a trace, each below the one that called it, with its depth, start and duration."""
    fields = await _fields(api, dataset)
    projected = ", ".join(quoted(name) for name in ("_time", *NEEDED[1:], *sorted(MORE & fields)))
    apl = f"{quoted(dataset)} | where trace_id == {quoted(trace_id)[1:-1]} | project {projected} | order by _time asc"
    table, notes = await ask_apl(api, apl, start, end, limit=MAX_SPANS)
    if not table.rows:
        raise ToolError(f"{dataset} has no spans of trace {trace_id} from {start} to {end}: give an earlier start")
    spans = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    names = ["_time", "duration", "service.name", "name", "error", "span_id"]
    rows = [[depth, *(span.get(name) for name in names)] for depth, span in _in_order(spans)]
    columns = ["depth", "start", *names[1:]]
    more = "query_apl has those that are left, by trace_id"
    return {**shown(AnswerTable(columns, rows, is_cut=table.is_cut), more, notes), "spans": len(rows)}


async def _fields(api: Api, dataset: str) -> frozenset[str]:
    """Return the fields of a dataset of spans; raise ToolError for another one."""
    fields = frozenset(each["name"] for each in await api.get(f"/v2/datasets/{segment(dataset)}/fields"))
    missing = [name for name in NEEDED if name not in fields]
    if missing:
        raise ToolError(f"{dataset} has no field {missing[0]}, which spans have: it is no dataset of traces")
    return fields


def _in_order(spans: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return spans with their depth, each behind its caller; those whose caller is missing are at the top."""
    ids = {span["span_id"] for span in spans}
    below = defaultdict(list)
    for span in spans:
        parent = span.get("parent_span_id")
        below[parent if parent in ids and parent != span["span_id"] else None].append(span)
    ordered: list[tuple[int, Mapping[str, Any]]] = []
    waiting = [(0, span) for span in reversed(below.pop(None, []))]
    while waiting:
        depth, span = waiting.pop()
        ordered.append((depth, span))
        waiting += [(depth + 1, child) for child in reversed(below.pop(span["span_id"], []))]
    # Spans that call one another in a circle are below no top.
    return [*ordered, *((0, span) for several in below.values() for span in several)]
