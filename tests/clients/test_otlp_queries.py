"""Queries of Axiom's pages on traces, of spans and data points that OpenTelemetry's SDK for Python sent."""

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from support.spans import MS, send_points, send_spans

if TYPE_CHECKING:
    from conftest import Server


class Asker(Struct, frozen=True):
    """Asks queries about spans and data points that are sent first."""

    server: "Server"
    traces: str = "otel-demo-traces"
    metrics: str = "otel-demo-metrics"

    def send(self) -> None:
        for name, kind in ((self.traces, "otel:traces:v1"), (self.metrics, "otel:metrics:v1")):
            made = self.server.client.post("/v2/datasets", json={"name": name, "kind": kind}).json()
            assert made["kind"] == self.dataset(name)["kind"] == kind
        token = self.server.api_token(self.traces, self.metrics)
        send_spans(self.server.url, {"Authorization": f"Bearer {token}", "X-Axiom-Dataset": self.traces})
        send_points(self.server.url, {"Authorization": f"Bearer {token}", "X-Axiom-Metrics-Dataset": self.metrics})

    def dataset(self, name: str) -> Any:
        return self.server.client.get(f"/v2/datasets/{name}").json()

    def answer(self, apl: str, form: str = "tabular") -> Any:
        body = {"apl": apl, "startTime": "2026-01-01T00:00:00Z", "endTime": "2036-01-03T00:00:00Z"}
        answer = self.server.client.post(f"/v1/datasets/_apl?format={form}", json=body)
        assert answer.status_code == 200, (apl, answer.text)
        return answer.json()

    def rows(self, operators: str, dataset: str = "") -> list[list[Any]]:
        table = self.answer(f"['{dataset or self.traces}'] | {operators}")["tables"][0]
        return [list(row) for row in zip(*table["columns"], strict=True)]

    def types(self, operators: str) -> dict[str, str]:
        fields = self.answer(f"['{self.traces}'] | {operators}")["tables"][0]["fields"]
        return {field["name"]: field["type"] for field in fields}


def test_queries_of_axioms_pages(server: "Server") -> None:
    asker = Asker(server)
    asker.send()

    check_fields(asker)
    check_durations(asker)
    check_traces(asker)
    check_custom_attributes(asker)
    check_points(asker)


def check_fields(asker: Asker) -> None:
    whole = asker.types("where true")
    listed = asker.server.client.get(f"/v2/datasets/{asker.traces}/fields").json()
    fields = {each["name"]: each["type"] for each in listed}
    for types in (whole, fields):
        assert (types["duration"], types["attributes.custom"], types["resource.custom"]) == ("timespan", "map", "map")
        assert not any(name.startswith("attributes.custom.") for name in types)
    assert asker.dataset(asker.traces)["mapFields"] == ["attributes.custom", "resource.custom"]
    aggregates = "percentile(duration, 95), max(duration), avg(duration), sum(duration), stdev(duration)"
    assert set(asker.types(f"summarize {aggregates}").values()) == {"timespan"}


def check_durations(asker: Asker) -> None:
    rows = asker.rows
    assert rows("where duration > 1s | project name, duration, ms = duration / 1ms | sort by ms, name asc") == [
        ["pay", "3s", 3000.0],
        ["GET /", "1.5s", 1500.0],
        ["query", "1.5s", 1500.0],
    ]
    same = ("duration > 1000000000", "duration > timespan(1s)", "tolong(duration / 1ns) > 1000000000")
    assert [rows(f"where {condition} | count") for condition in same] == [[[3]]] * 3
    assert rows("summarize percentile(duration, 95), max(duration), min(duration), sum(duration)") == [
        ["3s", "3s", "10ms", "7.155s"]
    ]
    assert rows("summarize count() by bin(duration, 500ms) | sort by duration asc") == [
        ["0s", 4],
        ["500ms", 1],
        ["1.5s", 2],
        ["3s", 1],
    ]
    assert rows("top 2 by duration | project name, duration") == [["pay", "3s"], ["query", "1.5s"]]
    [[buckets]] = rows("summarize histogram(duration, 2)")
    assert [(bucket["from"], bucket["count"]) for bucket in buckets] == [(10 * MS, 7), (1505 * MS, 1)]
    [match] = asker.answer(f"['{asker.traces}'] | where duration > 2s", "legacy")["matches"]
    assert (match["data"]["duration"], match["data"]["attributes.custom"]["http.protocol"]) == ("3s", "HTTP/1.1")
    totals = asker.answer(f"['{asker.traces}'] | summarize max(duration) by kind", "legacy")["buckets"]["totals"]
    values = {total["group"]["kind"]: total["aggregations"][0]["value"] for total in totals}
    assert values == {"server": "3s", "client": "1.5s"}


def check_traces(asker: Asker) -> None:
    rows = asker.rows
    measures = "count(), avg(duration), percentiles_array(duration, 95, 99, 99.9)"
    assert rows(f"where isnull(parent_span_id) | summarize {measures} by bin(_time, 2m)") == [
        ["2026-01-02T03:04:00Z", 2, "875ms", [1500 * MS] * 3],
        ["2026-01-02T03:06:00Z", 2, "1.51s", [3000 * MS] * 3],
    ]
    assert rows("summarize count(), avg(duration) by name | sort by avg_duration desc | limit 5") == [
        ["pay", 2, "1.51s"],
        ["GET /", 2, "875ms"],
        ["query", 4, "596.25ms"],
    ]
    errors = rows("summarize topk(['status.message'], 5) by ['service.name'], name | limit 5")
    assert errors[0] == ["checkout", "pay", [{"key": "card refused", "count": 1, "error": 0}]]
    by_trace = "start = min(_time), end_ = max(_time + duration), has_error = max(error) by trace_id"
    shown = "project ms = (end_ - start) / 1ms, has_error | sort by ms desc"
    assert rows(f"summarize {by_trace} | {shown}") == [[3000.0, True], [1500.0, False], [250.0, False], [20.0, False]]
    counts = "requests = count(), errors = countif(error == true), p50 = percentile(duration / 1ms, 50)"
    assert rows(f"where kind == 'server' | summarize {counts} by ['service.name'] | sort by errors asc") == [
        ["frontend", 2, 0, 250.0],
        ["checkout", 2, 1, 20.0],
    ]
    steps = "from datetime(2026-01-02T03:04:00Z) to datetime(2026-01-02T03:06:00Z) step 1m"
    series = rows(f"make-series avg(duration) default=0 on _time {steps} by ['service.name'] | project avg_duration")
    assert series == [[[1125 * MS, 187_500_000]]]


def check_custom_attributes(asker: Asker) -> None:
    rows = asker.rows
    assert rows("where ['attributes.custom']['app.synthetic_request'] == true | project name") == [["GET /"]]
    http_1 = "where ['attributes.custom']['http.protocol'] == 'HTTP/1.1'"
    assert rows(f"{http_1} | summarize count() by name | sort by name asc") == [["GET /", 1], ["pay", 2]]
    assert rows("where ['resource.custom'].team == 'a' | count") == [[8]]
    assert rows("where isnotnull(['attributes.custom']) | distinct tostring(bag_keys(['attributes.custom']))") == [
        ['["app.synthetic_request","http.protocol"]']
    ]
    assert rows("extend protocol = ['attributes.custom']['http.protocol'] | summarize dcount(protocol)") == [[2]]


def check_points(asker: Asker) -> None:
    def rows(operators: str) -> list[list[Any]]:
        return asker.rows(operators, asker.metrics)

    counts = "summarize sum(value), max(value) by ['attributes.http.route'] | sort by sum_value desc"
    assert rows(f"where metric == 'requests' | {counts}") == [["/", 2**53 + 1, 2**53 + 1], ["/pay", 2, 2]]
    shard = "where ['attributes.custom']['shard'] == 2"
    assert rows(f"{shard} | project value, ['service.name'], ['otel.metric.type']") == [[2, "frontend", "sum"]]
    assert rows("where metric == 'took' | project ['count'], sum, array_sum(bucket_counts)") == [[1, 0.25, 1]]
