"""Asks with axiom-py 0.10, the last release with structured queries, what the test gives on standard input."""

import json
import sys
from dataclasses import asdict
from datetime import datetime
from enum import Enum
from typing import Any

import axiom_py
from axiom_py.client import AplOptions, AplResultFormat
from axiom_py.query import Aggregation, Filter, FilterOperation, QueryKind, QueryLegacy, QueryOptions

START, END = datetime(2026, 3, 5), datetime(2026, 3, 6)


def ask(client: Any, dataset: str, how: str) -> Any:
    if how == "matches":
        condition = Filter(FilterOperation(">"), "n", 10, children=[])
        options = QueryOptions(nocache=True, saveAsKind=QueryKind.ANALYTICS)
        return client.query_legacy(dataset, QueryLegacy(START, END, filter=condition), options)
    if how == "groups":
        count = Aggregation("count", "*", alias="event_count")
        query = QueryLegacy(START, END, aggregations=[count], groupBy=["method"])
        return client.query_legacy(dataset, query, QueryOptions(saveAsKind=QueryKind.STREAM))
    form = AplResultFormat.Tabular if how == "tabular" else AplResultFormat.Legacy
    apl = f"['{dataset}'] | where n > 10"
    if how == "summarized":
        apl = f"['{dataset}'] | summarize event_count = count() by method"
    return client.query(apl, AplOptions(start_time=START, end_time=END, format=form))


def shown(value: object) -> object:
    return value.value if isinstance(value, Enum) else str(value)


def main() -> None:
    task = json.load(sys.stdin)
    client = axiom_py.Client(token=task["token"], org_id="an-organisation", url=task["url"])
    result = ask(client, task["dataset"], task["how"])
    answer = asdict(result)
    if answer.get("tables"):
        answer["events"] = list(result.tables[0].events())
    json.dump(answer, sys.stdout, default=shown)


main()
