"""Tools that query: APL, SQL, events over time, and kinds of messages."""

import json
from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from tailrace.agents.answers import DEFAULT_ROWS, MAX_ROWS, AnswerTable, shown
from tailrace.agents.calls import Api, Caller
from tailrace.agents.patterns import patterns_of

MAX_BINS = 200
MAX_MESSAGES = 5000  # different ones that are compared
MAX_PATTERNS = 100
MORE = f"narrow the time or the condition, or give a limit up to {MAX_ROWS}"
NOISE = frozenset({"apl_implicitendtimeofnowapplied_1"})  # codes of messages that say what the tool's description says

Start = Annotated[str, Field(description="Events from then on: RFC 3339, or relative as in now-15m, now-1h, now-7d.")]
End = Annotated[str, Field(description="Events before then, in the same way.")]
Dataset = Annotated[str, Field(description="Name of a dataset, as list_datasets has it.")]
Condition = Annotated[
    str,
    Field(
        description="Condition in APL on the events that count, such as level == \"error\" and ['http.status'] >= 500; "
        "empty for all."
    ),
]
Limit = Annotated[int, Field(ge=1, le=MAX_ROWS, description="Most rows of the answer.")]


async def query_apl(
    api: Caller,
    apl: Annotated[
        str, Field(description="The query, such as ['web'] | where status >= 500 | summarize count() by host")
    ],
    start: Start = "now-1h",
    end: End = "now",
    limit: Limit = DEFAULT_ROWS,
) -> dict[str, Any]:
    """Run an APL query (Axiom Processing Language, like Kusto's) over the events of a time.

    Aggregate in the query instead of fetching events: summarize count(), avg(x), percentile(x, 95) by y. Names with
    dots or spaces are written ['http.status']. apl_help has every operator and function.
    """
    table, notes = await ask_apl(api, apl, start, end, limit=limit)
    return shown(table, MORE, notes)


async def query_sql(
    api: Caller,
    sql: Annotated[str, Field(description="A SELECT in DuckDB's SQL; datasets are its tables.")],
    limit: Limit = DEFAULT_ROWS,
) -> dict[str, Any]:
    """Run an SQL query over datasets, each a table with a column for each field; quote names with dots or dashes.

    Give a condition on _time, as there is no other bound on it: WHERE _time > now() - INTERVAL 1 HOUR.
    """
    answer = await api.post("/tailrace/v1/sql", {"sql": sql, "maxRows": limit + 1})
    columns = [field["name"] for field in answer["fields"]]
    rows = [[row.get(name) for name in columns] for row in answer["rows"]]
    return shown(
        AnswerTable(columns, rows[:limit], is_cut=len(rows) > limit), f"add a LIMIT, or give one up to {MAX_ROWS}"
    )


async def count_over_time(
    api: Caller,
    dataset: Dataset,
    condition: Condition = "",
    by: Annotated[str, Field(description="A field by whose values they are counted apart; empty for none.")] = "",
    start: Start = "now-1h",
    end: End = "now",
    bins: Annotated[int, Field(ge=1, le=MAX_BINS, description="About how many steps of time.")] = 30,
) -> dict[str, Any]:
    """Count a dataset's events in steps of time: when something began, ended, or rose."""
    apart = f", {quoted(by)}" if by else ""
    apl = f"{source(dataset, condition)} | summarize events = count() by bin_auto(_time){apart} | order by _time asc"
    table, notes = await ask_apl(api, apl, start, end, limit=MAX_ROWS, bins=bins)
    return shown(table, "give fewer bins, or a field of fewer values", notes)


async def find_patterns(
    api: Caller,
    dataset: Dataset,
    field: Annotated[str, Field(description="The field with the text.")] = "message",
    condition: Condition = "",
    start: Start = "now-1h",
    end: End = "now",
    limit: Annotated[int, Field(ge=1, le=MAX_PATTERNS, description="Most patterns of the answer.")] = 20,
) -> dict[str, Any]:
    """Group messages that differ only in numbers, ids, addresses and the like: which kinds there are, most frequent
    first, each with an example. The way to begin with logs that are not known.
    """
    text = quoted(field)
    summary = f"summarize events = count(), first = min(_time), last = max(_time) by text = tostring({text})"
    apl = f"{source(dataset, condition)} | where isnotempty({text}) | {summary} | top {MAX_MESSAGES} by events"
    table, notes = await ask_apl(api, apl, start, end, limit=MAX_MESSAGES)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    found = patterns_of((row["text"], row["events"], row["first"], row["last"]) for row in rows)
    if len(rows) == MAX_MESSAGES:
        notes.append(f"only the {MAX_MESSAGES} most frequent different messages were compared")
    kinds = [[each.pattern, each.events, each.example, each.first, each.last] for each in found]
    columns = ["pattern", "events", "example", "first", "last"]
    answer = shown(
        AnswerTable(columns, kinds[:limit], is_cut=len(kinds) > limit),
        f"give a limit up to {MAX_PATTERNS}, or a condition",
        notes,
    )
    return {**answer, "patterns": len(kinds)}


async def ask_apl(
    api: Api, apl: str, start: str, end: str, *, limit: int, bins: int | None = None
) -> tuple[AnswerTable, list[str]]:
    """Return the first table of a query, of at most `limit` rows, and what the server says of it; raise ToolError."""
    body = {
        "apl": apl,
        "startTime": start,
        "endTime": end,
        "defaultLimit": limit + 1,
        "maxRows": limit + 1,
        "maxBinAutoGroups": bins,
    }
    answer = await api.post("/v1/datasets/_apl?format=tabular-rows&totals=false", body)
    notes = [each["msg"] for each in answer["status"].get("messages") or () if each["code"] not in NOISE]
    if not answer["tables"]:
        return AnswerTable([], []), notes
    table = answer["tables"][0]
    rows = table["rows"] or []
    return AnswerTable([field["name"] for field in table["fields"]], rows[:limit], is_cut=len(rows) > limit), notes


def source(dataset: str, condition: str) -> str:
    """Return the beginning of a query over the events of a dataset that meet a condition; raise ToolError."""
    if not dataset:
        raise ToolError("the dataset is missing: list_datasets has their names")
    return quoted(dataset) + (f" | where {condition}" if condition.strip() else "")


def quoted(name: str) -> str:
    """Return the name of a dataset or a field as APL has it."""
    return f"[{json.dumps(name, ensure_ascii=False)}]"
