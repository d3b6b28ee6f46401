"""Baselime's JavaScript clients, unmodified, under Node.js: what they send comes back, field by field."""

from typing import TYPE_CHECKING, Any

import pytest
from support.events import flat
from support.node import needs_node, run_program

if TYPE_CHECKING:
    from conftest import MakeServer, Server


pytestmark = needs_node


def run(server: "Server", script: str, **task: Any) -> dict[str, Any]:
    """Return what a script printed, run with a key that may send to every dataset."""
    made = server.client.post("/tailrace/v1/keys", json={"protocol": "baselime", "name": "js", "datasets": ["*"]})
    assert made.status_code == 201, made.text
    task = {"url": f"{server.url}/v1", "key": made.json()["key"], **task}
    answer: dict[str, Any] = run_program(script, task)
    return answer


def stored(server: "Server", dataset: str) -> list[dict[str, Any]]:
    """Return the events of a dataset in the order of their times, without the server's own columns and nulls."""
    rows = server.sql(f'SELECT * FROM "{dataset}" ORDER BY _time')
    return [
        {
            name: value
            for name, value in {**row, **(row.get("_rest") or {})}.items()
            if value is not None and name not in ("_time", "_sysTime", "_rest")
        }
        for row in rows
    ]


def call(level: str, message: str, data: Any = None, **more: Any) -> dict[str, Any]:
    return {"level": level, "message": message, "data": data, **more}


def test_edge_logger(server: "Server") -> None:
    groups = [
        [call("info", "hello", {"foo": "bar", "n": 1}), call("warn", "careful", {"deep": {"list": [1, "x", None]}})],
        [call("error", "broken ü", {"level": "fatal", "ok": False, "ratio": 0.25}), call("debug", "bare")],
    ]

    answer = run(
        server, "baselime-edge.mjs", groups=groups, settings={"service": "svc", "namespace": "/ns", "dataset": "edge-1"}
    )

    assert (answer["sent"], answer["complaints"]) == ([2, 2], [])
    common = {"$baselime.service": "svc", "$baselime.namespace": "/ns", "requestId": answer["requestId"]}
    found = stored(server, "edge-1")
    times = [event.pop("timestamp") for event in found]
    assert times == sorted(set(times))
    assert found == [
        {"message": "hello", "level": "info", "foo": "bar", "n": 1, **common},
        {"message": "careful", "level": "warning", "deep.list": [1, "x", None], **common},
        {"message": "broken ü", "level": "fatal", "ok": False, "ratio": 0.25, **common},
        {"message": "bare", "level": "debug", **common},
    ]


def test_the_time_of_an_edge_loggers_event_is_its_timestamp(server: "Server") -> None:
    run(server, "baselime-edge.mjs", groups=[[call("info", "a")]], settings={"dataset": "edge-2"})

    assert server.sql('SELECT epoch_ms(_time) = "timestamp" AS same FROM "edge-2"') == [{"same": True}]


def test_an_edge_logger_without_service_and_namespace_leaves_none(server: "Server") -> None:
    run(server, "baselime-edge.mjs", groups=[[call("info", "a")]], settings={"dataset": "edge-3"})

    assert set(stored(server, "edge-3")[0]) == {"message", "level", "timestamp", "requestId"}


OVERSIZED = [
    [call("info", "one")],
    [call("info", "x", repeat=300_000), call("info", "two")],
    [call("info", "three")],
]


def test_an_edge_logger_sends_good_events_again_after_a_documented_partial_failure(server: "Server") -> None:
    answer = run(server, "baselime-edge.mjs", groups=OVERSIZED, settings={"dataset": "edge-4"})

    assert answer["sent"] == [1, 2, 3]
    assert [complaint[:38] for complaint in answer["complaints"]] == ["Baselime failed to ingest logs: 400 Ba"] * 2
    assert [event["message"] for event in stored(server, "edge-4")] == ["one", "two", "two", "three"]


def test_with_partial_202_an_edge_logger_sends_every_event_once(make_server: "MakeServer") -> None:
    server = make_server("--baselime-partial=202").start()

    answer = run(server, "baselime-edge.mjs", groups=OVERSIZED, settings={"dataset": "edge"})

    assert (answer["sent"], answer["complaints"]) == ([1, 2, 1], [])
    assert [event["message"] for event in stored(server, "edge")] == ["one", "two", "three"]


@pytest.mark.parametrize("namespace", [None, "checkout"])
def test_react_rum(server: "Server", namespace: str | None) -> None:
    dataset = f"web-{namespace}"
    settings = {"dataset": dataset, "userId": "u1", **({"namespace": namespace} if namespace else {})}

    answer = run(server, "baselime-rum.mjs", page="http://shop.example/a/b?c=d", settings=settings)

    assert set(answer["statuses"]) == {202}
    added = {"$baselime.service": "shop.example", "$baselime.namespace": namespace or "/a/b"}
    sent = [{**flat(event), **added} for event in answer["bodies"]]
    assert len(sent) == 4
    messages = {"Page View", "basket", "TypeError: captured", "RangeError: thrown"}
    assert {event["message"] for event in sent} == messages
    found = {event["message"]: flat(event) for event in stored(server, dataset)}
    assert found == {event["message"]: event for event in sent}


def test_node_opentelemetry(server: "Server") -> None:
    answer = run(server, "baselime-otel.cjs")

    assert answer["answers"] == [200]
    rows = server.sql(f"SELECT * FROM otel WHERE traceId = '{answer['traceId']}'")
    found = {name: value for name, value in rows[0].items() if value is not None}
    expected = {
        "$baselime.service": "svc",
        "resource.service.name": "svc",
        "spanId": answer["spanId"],
        "name": "s1",
        "kind": "internal",
        "status.code": "error",
        "status.message": "bad",
        "attributes.a": 1,
        "attributes.b": "x",
        "attributes.c": [True],
        "attributes.d": 0.5,
        "scope.name": "tests",
    }
    assert len(rows) == 1
    assert {name: found.get(name) for name in expected} == expected
    assert [(event["name"], event["attributes"]) for event in found["events"]] == [("happened", {"k": "v"})]
