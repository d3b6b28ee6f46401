"""Requests of Axiom's data source for Grafana, and how strictly it reads the answers, after axiom-grafana 0.7.

Its backend is Go, of `pkg/axiomapi` and `pkg/plugin`: a member of another type than its struct has fails the whole
answer, and a value of another type than its column says ends the query in a panic.
"""

import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from support.axiom_answers import GoAnswer, GoDatasetFields, GoTable
from support.spans import send_spans

from tailrace.cli.tokens import TokenRole, role_rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

TRACES, LOGS = "grafana-traces", "grafana-logs"
VALUES: dict[str, tuple[type, ...]] = {
    "datetime": (str,),
    "integer": (int, float),
    "float": (int, float),
    "bool": (bool,),
    "timespan": (str,),
}  # that a column of a type may have; of other types it takes all


class DataSource:
    """Sends what the data source sends, with the token that docs/grafana.md has it made with."""

    def __init__(self, server: "Server") -> None:
        on_datasets, on_organisation = role_rights(TokenRole.viewer)
        rights = {"datasetCapabilities": on_datasets, "orgCapabilities": on_organisation}
        made = server.client.post("/v2/tokens", json={"name": "grafana", **rights})
        headers = {"Authorization": f"Bearer {made.json()['token']}", "Accept": "application/json"}
        headers["User-Agent"] = "axiom-grafana/v0.7.2"
        self.client = httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False)
        self.now_s = int(time.time())

    def ask(self, apl: str, path: str = "/v1/query/_apl?format=tabular") -> httpx.Response:
        body = {"apl": apl, "startTime": self.moment(-3600), "endTime": self.moment(60)}
        return self.client.post(path, json=body)

    def moment(self, since_s: int) -> str:
        """Return a time from now, as Go writes it."""
        return time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(self.now_s + since_s))

    def tables(self, apl: str) -> list[GoTable]:
        answer = self.ask(apl)
        assert answer.status_code == 200, answer.text
        read = msgspec.json.decode(answer.content, type=GoAnswer)
        assert read.tables
        for table in read.tables:
            assert len(table.columns) <= len(table.fields)
            for field, column in zip(table.fields, table.columns, strict=False):
                taken = VALUES.get("datetime" if field.name == "_time" else field.type, (object,))
                assert all(value is None or isinstance(value, taken) for value in column), field
        return read.tables

    def volume(self, apl: str, interval: str) -> list[list[Any]]:
        """Return the times and counts of Explore's volume of logs, whose query is around the one it is of."""
        [table, *_] = self.tables(
            f"({apl})\n| extend _axiom_logs_volume_time = coalesce(_time, _sysTime)\n"
            "| where isnotnull(_axiom_logs_volume_time)\n"
            f"| summarize count_ = count() by _time = bin(_axiom_logs_volume_time, {interval})\n| order by _time asc"
        )
        assert [field.name for field in table.fields] == ["_time", "count_"]
        return table.columns


@pytest.fixture(scope="session")
def source(server: "Server") -> "Iterator[DataSource]":
    for name in (TRACES, LOGS):
        server.create(name)
    found = DataSource(server)
    headers = {"Authorization": f"Bearer {server.api_token(TRACES)}", "X-Axiom-Dataset": TRACES}
    send_spans(server.url, headers, (found.now_s - 600) * 10**9)
    events = [
        {"_time": found.moment(-120), "message": "one", "level": "info", "status": 200, "tags": ["a"], "ok": True},
        {"_time": found.moment(-60), "message": "two", "level": "error", "status": "none", "nested": {"a": 1.5}},
        {"_time": found.moment(-60), "message": "three"},
    ]
    assert server.ingest(LOGS, events).json()["ingested"] == 3
    with found.client:
        yield found


def test_the_check_of_its_settings_passes(source: DataSource) -> None:
    # A request without a body, which it wants refused as a query that is missing.
    assert source.client.post("/v1/query/_apl").status_code == 422
    assert source.client.post("/v1/query/_apl", headers={"Authorization": "Bearer none"}).status_code == 401


def test_fields_for_its_editor(source: DataSource) -> None:
    answer = source.client.get("/v1/datasets/_fields")
    found = {each.dataset_name: each for each in msgspec.json.decode(answer.content, type=list[GoDatasetFields])}

    assert {"_time", "message", "nested.a"} <= {field.name for field in found[LOGS].fields}
    assert {"trace_id", "duration"} <= {field.name for field in found[TRACES].fields}


def test_logs(source: DataSource) -> None:
    [table] = source.tables(f"['{LOGS}'] | sort by _time desc")
    columns = dict(zip((field.name for field in table.fields), table.columns, strict=True))

    assert columns["message"][2] == "one"
    assert {field.name: field.type for field in table.fields}["status"] == "integer|string"


@pytest.mark.parametrize("query", [f"['{LOGS}']", f"['{LOGS}'] // all\n| where true", f"['{LOGS}'] | limit 1000"])
def test_the_volume_of_logs(source: DataSource, query: str) -> None:
    times, counts = source.volume(query, "1s")

    assert times == [source.moment(at_s).replace(".5Z", "Z") for at_s in (-120, -60)]
    assert counts == [1, 2]


def test_a_trace_has_all_that_its_view_needs(source: DataSource) -> None:
    [table] = source.tables(f"['{TRACES}'] | where name == 'pay' or name == 'query'")
    columns = dict(zip((field.name for field in table.fields), table.columns, strict=True))

    assert {"trace_id", "span_id", "parent_span_id", "name", "service.name", "_time", "duration"} <= set(columns)
    assert set(columns["duration"]) >= {"3s", "1.5s"}  # as Go parses durations
    [selected] = source.tables(
        f"['{TRACES}'] | where kind == 'server' | project traceID = trace_id, spanID = span_id, serviceName = "
        "['service.name'], operationName = name, startTime = _time, duration"
    )
    assert [field.type for field in selected.fields][-2:] == ["datetime", "timespan"]


@pytest.mark.parametrize(
    "operators",
    [
        "summarize count() by bin_auto(_time)",
        "summarize count(), avg(duration) by bin(_time, 1m), ['service.name']",
        "summarize percentiles_array(duration, 50, 95) by bin_auto(_time), name, kind",
        "summarize topk(name, 3), make_set(kind) by bin_auto(_time)",
    ],
)
def test_series_come_with_their_totals(source: DataSource, operators: str) -> None:
    series, totals = source.tables(f"['{TRACES}'] | {operators}")

    assert series.fields[0].name == "_time"
    assert "_time" not in {field.name for field in totals.fields}
    assert series.columns[0]


def test_values_of_a_variable(source: DataSource) -> None:
    [table] = source.tables(f"['{TRACES}'] | distinct ['service.name']")

    assert sorted(table.columns[0]) == ["checkout", "frontend"]


def test_a_query_that_cannot_run_says_why(source: DataSource) -> None:
    answer = source.ask(f"['{LOGS}'] | summarise count()")

    assert answer.status_code == 400
    assert "summarize" in answer.json()["message"]


def test_metrics_queries_are_refused_in_words(source: DataSource) -> None:
    info = f"/v1/query/metrics/info/datasets/{LOGS}/metrics"
    query = source.client.post("/v1/query/_mpl", json={"mpl": "a:b", "startTime": "x", "endTime": "y"})
    for answer in (query, source.client.get(info), source.client.get(f"{info}/a/tags/b/values")):
        assert answer.status_code == 404
        assert "query it by APL" in answer.json()["message"]
    datasets = source.client.get("/v2/datasets").json()
    assert {each["kind"] for each in datasets if each["name"] == LOGS} == {"axiom:events:v1"}
