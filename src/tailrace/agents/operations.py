"""Tools for what people keep beside the events: saved queries, dashboards, monitors, annotations."""

from typing import Annotated, Any

from pydantic import Field

from tailrace.agents.answers import DEFAULT_ROWS, MAX_ROWS, AnswerTable, shown
from tailrace.agents.calls import Caller, segment
from tailrace.agents.queries import End, Limit, Start

MORE = "give a higher limit"


async def list_saved_queries(api: Caller, limit: Limit = DEFAULT_ROWS) -> dict[str, Any]:
    """List the queries that people of the organisation saved: good examples of what they ask of which dataset."""
    saved = await api.get("/v2/apl-starred-queries", who="all", limit=_one_more(limit))
    rows = [[each["name"], each["dataset"], each["query"].get("apl", "")] for each in saved]
    return shown(AnswerTable(["name", "dataset", "apl"], rows[:limit], is_cut=len(rows) > limit), MORE)


async def list_dashboards(api: Caller, limit: Limit = DEFAULT_ROWS) -> dict[str, Any]:
    """List the dashboards, with the titles of their charts."""
    found = await api.get("/v2/dashboards", limit=_one_more(limit))
    rows = []
    for each in found:
        document = each.get("dashboard") or {}
        titles = [chart.get("name", "") for chart in document.get("charts") or ()]
        rows.append([each["uid"], document.get("name", ""), document.get("description", ""), titles])
    return shown(AnswerTable(["uid", "name", "description", "charts"], rows[:limit], is_cut=len(rows) > limit), MORE)


async def list_monitors(api: Caller, limit: Limit = DEFAULT_ROWS) -> dict[str, Any]:
    """List the monitors: queries that run on an interval and alert, with their thresholds."""
    found = await api.get("/v2/monitors")
    names = ("id", "name", "type", "disabled", "aplQuery", "operator", "threshold", "intervalMinutes", "rangeMinutes")
    rows = [[each.get(name) for name in names] for each in found[:limit]]
    return shown(AnswerTable(names, rows, is_cut=len(found) > limit), MORE)


async def monitor_history(
    api: Caller,
    monitor_id: Annotated[str, Field(description="As list_monitors has it.")],
    start: Start = "now-1d",
    end: End = "now",
) -> dict[str, Any]:
    """Return when a monitor alerted, or failed, and what is alerting now (`open`)."""
    status: dict[str, Any] = await api.get(f"/tailrace/v1/monitors/{segment(monitor_id)}", startTime=start, endTime=end)
    history = status.pop("history")
    columns = ("timestamp", "kind", "group", "value", "text")
    answer = shown(
        AnswerTable(columns, [[each.get(name) for name in columns] for each in history]), "give a shorter time"
    )
    return {**status, **answer}


async def list_annotations(
    api: Caller,
    start: Annotated[str, Field(description="RFC 3339: those that end then or later; empty for all.")] = "",
    end: Annotated[str, Field(description="RFC 3339: those that begin before then; empty for all.")] = "",
    limit: Limit = DEFAULT_ROWS,
) -> dict[str, Any]:
    """List annotations: deployments and the like, which may explain a change."""
    found = await api.get("/v2/annotations", start=start, end=end)
    names = ("time", "endTime", "type", "title", "description", "datasets", "url")
    rows = [[each.get(name) for name in names] for each in found[:limit]]
    return shown(AnswerTable(names, rows, is_cut=len(found) > limit), "give a shorter time")


def _one_more(limit: int) -> int:
    """Return how many to ask for, so that it is known whether there are more, as far as the API gives so many."""
    return min(limit + 1, MAX_ROWS)
