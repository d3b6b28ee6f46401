"""Structured queries, virtual fields, and the figures of datasets, over HTTP."""

import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import answers

if TYPE_CHECKING:
    from conftest import Server

RANGE = {"startTime": "2026-03-05T00:00:00Z", "endTime": "2026-03-06T00:00:00Z"}
EVENTS: list[dict[str, Any]] = [
    {
        "_time": f"2026-03-05T10:{n:02}:00Z",
        "n": n,
        "request.method": ["GET", "POST"][n % 2],
        "agent": f"Agent-{n}",
        **({"odd": True} if n % 2 else {}),
    }
    for n in range(14)
]


@pytest.fixture
def logs(server: "Server", dataset: str) -> str:
    assert server.ingest(dataset, EVENTS).json()["ingested"] == 14
    return dataset


def post(server: "Server", dataset: str, **body: Any) -> httpx.Response:
    return server.client.post(f"/v1/datasets/{dataset}/query", json={**RANGE, **body})


def ask(server: "Server", dataset: str, **body: Any) -> answers.Structured:
    answer = post(server, dataset, **body)
    assert answer.status_code == 200, answer.text
    return answers.structured(answer.content)


def numbers(server: "Server", dataset: str, **body: Any) -> list[int]:
    return [match.data["n"] for match in ask(server, dataset, **body).matches]


def test_without_aggregations_there_are_matches(server: "Server", logs: str) -> None:
    answer = ask(server, logs, limit=3, aggregations=None, groupBy=None, order=None, project=None, virtualFields=None)

    assert [match.data["n"] for match in answer.matches] == [13, 12, 11]
    assert answer.matches[0].data == {"n": 13, "request.method": "POST", "agent": "Agent-13", "odd": True}
    assert answer.matches[0].time == "2026-03-05T10:13:00Z"
    assert answer.buckets == answers.Buckets([], [])
    assert answer.status.rows_matched == 14


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"op": ""}, 14),
        ({"op": "==", "field": "n", "value": 3}, 1),
        ({"op": "eq", "field": "request.method", "value": "GET"}, 7),
        ({"op": "ne", "field": "request.method", "value": "GET"}, 7),
        ({"op": "gt", "field": "n", "value": 10}, 3),
        ({"op": ">=", "field": "n", "value": 10}, 4),
        ({"op": "lt", "field": "n", "value": 2.5}, 3),
        ({"op": "lte", "field": "n", "value": 2}, 3),
        ({"op": "exists", "field": "odd"}, 7),
        ({"op": "exists", "field": "odd", "children": [{"op": "==", "field": "n", "value": 99}]}, 7),
        ({"op": "not-exists", "field": "odd"}, 7),
        ({"op": "starts-with", "field": "agent", "value": "agent-1"}, 5),
        ({"op": "starts-with", "field": "agent", "value": "agent-1", "caseSensitive": True}, 0),
        ({"op": "not-starts-with", "field": "agent", "value": "AGENT-1"}, 9),
        ({"op": "ends-with", "field": "agent", "value": "T-3"}, 1),
        ({"op": "not-ends-with", "field": "agent", "value": "3", "caseSensitive": True}, 12),
        ({"op": "contains", "field": "agent", "value": "GENT"}, 14),
        ({"op": "not-contains", "field": "agent", "value": "GENT", "caseSensitive": True}, 14),
        ({"op": "regexp", "field": "agent", "value": "-1[0-2]$"}, 3),
        ({"op": "not-regexp", "field": "agent", "value": "-1[0-2]$"}, 11),
        ({"op": "==", "field": "agent", "value": "x' or 1 == 1 //"}, 0),
        (
            {
                "op": "or",
                "children": [
                    {"op": "==", "field": "n", "value": 1},
                    {
                        "op": "and",
                        "children": [
                            {"op": ">", "field": "n", "value": 9},
                            {"op": "not", "children": [{"op": "exists", "field": "odd"}]},
                        ],
                    },
                ],
            },
            3,
        ),
    ],
)
def test_a_filter(server: "Server", logs: str, filter: dict[str, Any], found: int) -> None:
    assert len(ask(server, logs, filter=filter).matches) == found


def test_groups_in_buckets_of_time_and_totals(server: "Server", logs: str) -> None:
    answer = ask(
        server,
        logs,
        resolution="5m0s",
        groupBy=["request.method"],
        aggregations=[
            {"op": "count", "field": "*", "alias": "event_count"},
            {"op": "sum", "field": "n"},
            {"op": "topk", "field": "request.method", "argument": 1},
            {"op": "percentiles", "field": "n", "argument": [50, 99]},
            {"op": "countif", "field": "n", "argument": "n > 10"},
            {"op": "argmax", "field": "n", "argument": "agent"},
        ],
        order=[{"field": "event_count", "desc": True}],
    )

    assert answer.matches == []
    assert [(each.start_time, each.end_time) for each in answer.buckets.series] == [
        ("2026-03-05T10:00:00Z", "2026-03-05T10:05:00Z"),
        ("2026-03-05T10:05:00Z", "2026-03-05T10:10:00Z"),
        ("2026-03-05T10:10:00Z", "2026-03-05T10:15:00Z"),
    ]
    totals = {total.group["request.method"]: total for total in answer.buckets.totals}
    assert [(each.op, each.value) for each in totals["GET"].aggregations] == [
        ("event_count", 7),
        ("sum", 42),
        ("topk", [{"key": "GET", "count": 7, "error": 0}]),
        ("percentiles", [6, 12]),
        ("countif", 1),
        ("argmax", "Agent-12"),
    ]
    assert set(totals) == {"GET", "POST"}
    assert answer.status.rows_matched == 14


def test_order_limit_projection_and_virtual_fields(server: "Server", logs: str) -> None:
    assert numbers(server, logs, order=[{"field": "n", "desc": False}], limit=2) == [0, 1]
    answer = ask(
        server,
        logs,
        virtualFields=[{"alias": "small", "expr": "toint(n) < 3"}],
        filter={"op": "==", "field": "small", "value": True},
        project=[{"field": "n", "alias": "number"}, {"field": "small"}],
    )
    assert [match.data for match in answer.matches] == [{"number": n, "small": True} for n in (2, 1, 0)]
    assert answer.matches[0].time == "2026-03-05T10:02:00Z"


def test_the_rows_id_is_a_cursor(server: "Server", logs: str) -> None:
    order = [{"field": "_time", "desc": False}]
    first = ask(server, logs, order=order, limit=4)

    assert numbers(server, logs, order=order, limit=4, cursor=first.matches[-1].row_id) == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"filter": {"op": "equals", "field": "n"}}, "filter.op"),
        ({"filter": {"op": "and", "children": [{"op": "contains", "field": "n", "value": 3}]}}, "filter.children[0]"),
        ({"filter": {"op": "=="}}, "no field"),
        ({"aggregations": [{"op": "cuont"}]}, "did you mean 'count'"),
        ({"aggregations": [{"op": "sum"}]}, "no field"),
        ({"aggregations": [{"op": "topk", "field": "n", "argument": -1}]}, "topk"),
        ({"aggregations": [{"op": "percentiles", "field": "n", "argument": ["x"]}]}, "percentiles"),
        ({"resolution": "often", "aggregations": [{"op": "count"}]}, "resolution"),
        ({"virtualFields": [{"alias": "x", "expr": "n +"}]}, "virtualFields[0].expr"),
        ({"limit": 50_001}, "50000"),
        ({"limit": -1}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"startTime": "x"}, "startTime"),
    ],
)
def test_what_cannot_be_is_refused(server: "Server", logs: str, body: dict[str, Any], told: str) -> None:
    answer = post(server, logs, **body)

    assert answer.status_code == 400
    assert told in answer.json()["message"]


def test_a_structured_query_needs_its_right(server: "Server", logs: str) -> None:
    headers = {"Authorization": f"Bearer {server.api_token(logs)}"}

    assert server.client.post(f"/v1/datasets/{logs}/query", json=RANGE, headers=headers).status_code == 403
    assert post(server, "nothing-of-this-name").status_code == 404


def test_a_virtual_field_is_a_column_of_every_query(server: "Server", logs: str) -> None:
    body = {"dataset": logs, "name": "twice", "expression": "n * 2", "type": "integer"}
    made = server.client.post("/v2/vfields", json=body).json()

    assert made == {"id": made["id"], "description": "", "unit": "", **body}
    assert server.client.get("/v2/vfields", params={"dataset": logs}).json() == [made]
    assert server.client.get(f"/v2/vfields/{made['id']}").json() == made

    def twice(apl: str) -> Any:
        answer = server.client.post("/v1/datasets/_apl", params={"format": "tabular"}, json={"apl": apl, **RANGE})
        return answers.tabular(answer.content).tables[0]

    table = twice(f"['{logs}'] | where twice > 24")
    assert [field.name for field in table.fields][-1] == "twice"
    assert [row["twice"] for row in table.rows()] == [26]
    assert numbers(server, logs, filter={"op": "==", "field": "twice", "value": 8}) == [4]
    assert server.client.get(f"/v2/datasets/{logs}/fields").json()[-1]["name"] == "twice"

    changed = {**body, "expression": "n * 2 + nothing_yet"}
    assert server.client.put(f"/v2/vfields/{made['id']}", json=changed).json()["expression"] == changed["expression"]
    assert server.client.delete(f"/v2/vfields/{made['id']}").status_code == 204
    assert server.client.get(f"/v2/vfields/{made['id']}").status_code == 404
    assert "twice" not in [field.name for field in twice(f"['{logs}']").fields]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"expression": "n +"}, 400),
        ({"expression": "1 + toscalar(logs | count)"}, 400),
        ({"expression": "n in ((logs | project n))"}, 400),
        ({"name": ""}, 400),
        ({"name": "x" * 201}, 400),
        ({"dataset": "nothing-of-this-name"}, 404),
        ({"expression": None}, 400),
    ],
)
def test_a_virtual_field_that_cannot_be_is_refused(
    server: "Server", logs: str, change: dict[str, Any], status: int
) -> None:
    body = {"dataset": logs, "name": "v", "expression": "1", **change}

    assert server.client.post("/v2/vfields", json=body).status_code == status


def test_a_virtual_fields_name_is_taken_once_a_dataset(server: "Server", logs: str) -> None:
    body = {"dataset": logs, "name": "v", "expression": "1"}

    assert server.client.post("/v2/vfields", json=body).status_code == 200
    assert server.client.post("/v2/vfields", json=body).status_code == 409
    server.client.delete(f"/v2/datasets/{logs}")
    server.create(logs)
    assert server.client.get("/v2/vfields", params={"dataset": logs}).json() == []


def test_fields_and_figures_of_datasets(server: "Server", logs: str) -> None:
    token = {"Authorization": f"Bearer {server.api_token(logs, query=True)}"}
    info = server.client.get(f"/v1/datasets/{logs}/info", headers=token).json()

    assert (info["name"], info["numEvents"], info["numFields"], info["numBlocks"]) == (logs, 14, 6, 1)
    assert (info["minTime"], info["maxTime"]) == ("2026-03-05T10:00:00Z", "2026-03-05T10:13:00Z")
    assert info["inputEvents"] == 14
    assert info["inputBytes"] > 14 * len('{"n":1}')
    assert info["inputBytes"] != info["compressedBytes"]
    fields = [{"name": field["name"], "type": field["type"]} for field in info["fields"]]
    assert fields == [
        {"name": "_sysTime", "type": "datetime"},
        {"name": "_time", "type": "datetime"},
        {"name": "agent", "type": "string"},
        {"name": "n", "type": "integer"},
        {"name": "odd", "type": "boolean"},
        {"name": "request.method", "type": "string"},
    ]
    assert set(info["fields"][0]) == {"name", "type", "unit", "hidden", "description"}
    whole = [{"datasetName": logs, "fields": info["fields"]}]
    assert server.client.get("/v1/datasets/_fields", headers=token).json() == whole
    assert server.client.post("/v1/datasets/_fields", json={"datasets": [logs]}, headers=token).json() == whole
    assert server.client.post("/v1/datasets/_fields", json={"datasets": ["demo"]}, headers=token).status_code == 403
    stats = server.client.get("/v1/datasets/_stats", headers=token).json()
    assert stats["datasets"] == [info]
    assert stats["numEvents"] == 14
    assert server.client.get("/v1/datasets/nothing-of-this-name/info").status_code == 404


def held(server: "Server", dataset: str, duration: str, **body: Any) -> tuple[int, float]:
    """How many events matched, and after how many seconds that was answered."""
    begun = time.monotonic()
    answer = server.client.post(f"/v1/datasets/{dataset}/query", params={"streaming-duration": duration}, json=body)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["matches"]), time.monotonic() - begun


def test_an_answer_without_events_is_held_up(server: "Server", dataset: str) -> None:
    count, took_s = held(server, dataset, "300ms")
    assert (count, took_s >= 0.3) == (0, True)
    server.ingest(dataset, [{"n": 1}])
    assert held(server, dataset, "30s")[0] == 1  # at once, or the test would time out


@pytest.mark.parametrize(("past", "count"), [(False, 1), (True, 0)])
def test_an_answer_is_held_up_until_there_is_something(server: "Server", dataset: str, past: bool, count: int) -> None:
    duration = str(20 * 10**9)  # as Axiom's Go client writes it
    end = {"endTime": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()} if past else {}
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(held, server, dataset, duration, **end)
        while not waiting.done():
            server.ingest(dataset, [{"n": 1}])
            wait([waiting], timeout=0.1)
        found, took_s = waiting.result()
    assert (min(found, 1), took_s < 20) == (count, True)


@pytest.mark.parametrize("duration", ["soon", "-5s"])
def test_what_is_no_duration_is_400(server: "Server", dataset: str, duration: str) -> None:
    answer = server.client.post(f"/v1/datasets/{dataset}/query", params={"streaming-duration": duration}, json={})
    assert (answer.status_code, "streaming-duration" in answer.text) == (400, True)
