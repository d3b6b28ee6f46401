"""What Grafana asks of a Loki beside queries: whether it is there, statistics, detected labels and fields."""

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

NS = 1_000_000_000


class Asked:
    """Asks about lines of three streams: 4 of logfmt, one of JSON, one of text."""

    def __init__(self, server: "Server") -> None:
        self.client = server.client
        self.dataset = server.create("loki-metadata")
        self.end_ns = time.time_ns()

        def lines(*texts: str) -> list[Any]:
            return [[str(self.end_ns - (60 - n) * NS), text, {"trace": f"t{n}"}] for n, text in enumerate(texts)]

        streams = [
            {"stream": {"job": "api"}, "values": lines(*(f"took={n}ms size={n}kB ok=true" for n in range(4)))},
            {"stream": {"job": "web"}, "values": lines(json.dumps({"a": {"b": 7}, "rate": 0.5, "job": "x"}))},
            {"stream": {"job": "cron"}, "values": lines("é")},
        ]
        headers = {"X-Axiom-Dataset": self.dataset}
        assert self.client.post("/loki/api/v1/push", json={"streams": streams}, headers=headers).status_code == 204

    def __call__(self, path: str, selector: str = "", *, status: int = 200, stages: str = "", **more: Any) -> Any:
        query = f'{{dataset="{self.dataset}"{selector}}}{stages}'
        times = {"start": self.end_ns - 3600 * NS, "end": self.end_ns + NS}
        answer = self.client.get(f"/loki/api/v1/{path}", params={"query": query, **times, **more})
        assert answer.status_code == status, answer.text
        return answer.json() if status == 200 else answer.json()["message"]


@pytest.fixture(scope="session")
def asked(server: "Server") -> Asked:
    return Asked(server)


def test_grafana_sees_that_a_loki_is_there(asked: Asked) -> None:
    # The check of its data source, which wants one number, 2, at the time 4 s after 1970.
    body = asked("query", query="vector(1)+vector(1)", time="4000000000", direction="backward")

    assert body["data"] == {
        "resultType": "vector",
        "result": [{"metric": {}, "value": [4_000_000_000.0, "2"]}],
        "stats": {},
    }


def test_statistics_of_a_selector(asked: Asked) -> None:
    assert asked("index/stats", ', job="api"') == {"streams": 1, "chunks": 1, "entries": 4, "bytes": 4 * 25}
    assert asked("index/stats") == {"streams": 3, "chunks": 3, "entries": 6, "bytes": 4 * 25 + 40 + 2}
    assert asked("index/stats", ', job="none"') == {"streams": 0, "chunks": 0, "entries": 0, "bytes": 0}
    assert "is no selector" in asked("index/stats", stages="", query="rate({}[1m])", status=400)


def test_statistics_of_events_without_lines_have_no_bytes(asked: Asked, server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"status": 200}, {"status": 500}])

    assert asked("index/stats", query=f'{{dataset="{dataset}"}}', end=time.time_ns()) == {
        "streams": 1,
        "chunks": 1,
        "entries": 2,
        "bytes": 0,
    }


def test_detected_labels(asked: Asked) -> None:
    assert asked("detected_labels") == {
        "detectedLabels": [
            {"label": "dataset", "cardinality": 1},
            {"label": "job", "cardinality": 3},
            {"label": "trace", "cardinality": 4},
        ]
    }
    assert asked("detected_labels", ', job="none"') == {"detectedLabels": [{"label": "dataset", "cardinality": 1}]}


def test_labels_are_detected_where_no_dataset_is_named(asked: Asked) -> None:
    [dataset] = asked("detected_labels", query="")["detectedLabels"]  # as Grafana asks first

    assert dataset["label"] == "dataset"
    assert dataset["cardinality"] > 1


def test_detected_fields(asked: Asked) -> None:
    found = asked("detected_fields")

    fields = [(each["label"], each["type"], each["cardinality"], each["parsers"]) for each in found["fields"]]
    assert fields == [
        ("a_b", "int", 1, ["json"]),
        ("ok", "boolean", 1, ["logfmt"]),
        ("rate", "float", 1, ["json"]),
        ("size", "bytes", 4, ["logfmt"]),
        ("took", "duration", 4, ["logfmt"]),
        ("trace", "string", 4, None),
    ]
    assert [each["label"] for each in asked("detected_fields", limit=1)["fields"]] == ["a_b"]
    assert asked("detected_field/took/values", stages=' | took="2ms"') == {"values": [], "limit": 1000}  # no parser
    assert asked("detected_field/took/values", stages=' | logfmt | took="2ms"') == {"values": ["2ms"], "limit": 1000}
    assert asked("detected_field/none/values") == {"values": [], "limit": 1000}


def test_fields_are_those_of_lines(asked: Asked) -> None:
    assert "not a query of numbers" in asked("detected_fields", query="vector(1)", status=400)
    assert asked("detected_fields", query="", status=400) == "the parameter query is missing"
    assert "limit is 'x'" in asked("detected_fields", limit="x", status=400)


@pytest.mark.parametrize(
    ("stages", "jobs"),
    [
        (' | json | __error__=""', {"web"}),
        (" | json | __error__=`` | logfmt", {"web"}),
        (' | json | __error__!=""', {"api", "cron"}),
        (' | json | __error__="JSONParserErr"', {"api", "cron"}),
        (' | logfmt | __error__=""', {"api", "web", "cron"}),
    ],
)
def test_lines_that_cannot_be_parsed_have_an_error(asked: Asked, stages: str, jobs: set[str]) -> None:
    data = asked("query_range", stages=stages)["data"]

    assert {stream["stream"]["job"] for stream in data["result"]} == jobs
