"""OpenTelemetry over HTTP with a token: encodings, datasets, partial success, errors in the shape of the request."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from support.otlp import Json, attribute, in_protobuf, log_records, metrics, spans
from support.serving import Serving, serving

from tailrace.events import BodyTimeout, DiskFull, Overloaded, TailraceError
from tailrace.parsing import Signal
from tailrace.protocols.doors import otlp
from tailrace.protocols.doors.otlp_status import encode_status, status_of

PROTOBUF, JSON = "application/x-protobuf", "application/json"
START_NS = 1_700_000_000_000_000_000
BIG = 2**64 - 1
TOO_LONG = {"name": "y", "attributes": [attribute("x" * 201, intValue="1")]}  # a name of a field
RESPONSES: dict[str, Any] = {
    "logs": ExportLogsServiceResponse,
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
FEW: dict[Signal, Json] = {
    "logs": log_records({"timeUnixNano": str(START_NS), "body": {"stringValue": "hello"}}),
    "traces": spans({"startTimeUnixNano": str(START_NS), "endTimeUnixNano": str(START_NS + 5), "name": "a"}),
    "metrics": metrics({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": str(START_NS), "asInt": "3"}]}}),
}


async def token_for(served: Serving, *datasets: str, **more: Any) -> str:
    body = {"name": "t", "datasetCapabilities": {name: {"ingest": ["create"]} for name in datasets}, **more}
    answer = await served.client.post("/v2/tokens", json=body)
    secret: str = answer.raise_for_status().json()["token"]
    return secret


async def send(
    served: Serving, signal: Signal, request: Json | bytes, media_type: str = JSON, **headers: str
) -> httpx.Response:
    """Send with the owner's token, unless `authorization` is another."""
    if isinstance(request, bytes):
        body = request
    else:
        body = json.dumps(request).encode() if media_type == JSON else in_protobuf(request, signal)
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value}
    if "authorization" not in headers:
        sent["authorization"] = served.client.headers["authorization"]
    async with httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1") as client:
        return await client.post(f"/v1/{signal}", content=body, headers={"content-type": media_type, **sent})


async def rows(served: Serving, dataset: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(served.parts.rows, dataset)


async def apl(served: Serving, query: str) -> list[list[Any]]:
    """Return the columns of the answer."""
    body = {"apl": query, "startTime": "2020-01-01T00:00:00Z", "endTime": "2030-01-01T00:00:00Z"}
    answer = await served.client.post("/v1/datasets/_apl?format=tabular", json=body)
    columns: list[list[Any]] = answer.raise_for_status().json()["tables"][0]["columns"]
    return columns


def test_each_signal_is_taken_in_both_encodings_and_every_compression(tmp_path: Path) -> None:
    codings: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "br": brotli.compress,
        "deflate": zlib.compress,
    }

    async def run() -> None:
        async with serving(tmp_path) as served:
            for signal, request in FEW.items():
                served.parts.lake.create(signal)
                for media_type in (JSON, PROTOBUF, "application/protobuf"):
                    body = json.dumps(request).encode() if media_type == JSON else in_protobuf(request, signal)
                    for coding, compress in codings.items():
                        answer = await send(
                            served, signal, compress(body), media_type, content_encoding=coding, x_axiom_dataset=signal
                        )
                        said = (answer.status_code, answer.headers["content-type"], answer.content)
                        assert said == (200, media_type, b"{}" if media_type == JSON else b"")
                assert len({json.dumps(row, default=str) for row in await rows(served, signal)}) == 1
                assert len(await rows(served, signal)) == 3 * len(codings)
            [columns] = [await apl(served, "traces | project duration / 1ns, name, ['kind'], error")]
            assert [column[0] for column in columns] == [5, "a", "unspecified", False]

    asyncio.run(run())


def test_where_the_dataset_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("a", "b", "c", "m"):
                served.parts.lake.create(name)
            resource = {"attributes": [attribute("dataset", stringValue="b")]}
            request = spans({"name": "x"}, resource=resource)
            request["resourceSpans"] += FEW["traces"]["resourceSpans"]
            only = f"Bearer {await token_for(served, 'c')}"
            both = f"Bearer {await token_for(served, 'b', 'c')}"

            async def counts() -> list[int]:
                return [len(await rows(served, name)) for name in ("a", "b", "c", "m")]

            assert (await send(served, "traces", request, x_axiom_dataset="a")).content == b"{}"
            assert await counts() == [2, 0, 0, 0]  # the header goes before the attribute
            partly = (await send(served, "traces", request, authorization=both)).json()["partialSuccess"]
            assert (partly["rejectedSpans"], "span 1: no dataset is named" in partly["errorMessage"]) == ("1", True)
            assert await counts() == [2, 1, 0, 0]
            assert (await send(served, "traces", FEW["traces"], authorization=only)).content == b"{}"
            assert await counts() == [2, 1, 1, 0]
            for headers in ({"x_axiom_metrics_dataset": "m", "x_axiom_dataset": "a"}, {"x_axiom_dataset": "m"}):
                assert (await send(served, "metrics", FEW["metrics"], **headers)).content == b"{}"
            assert await counts() == [2, 1, 1, 2]
            # Of two datasets the one that the token may not send to is refused by itself.
            partly = (await send(served, "traces", request, authorization=only)).json()["partialSuccess"]
            assert partly["rejectedSpans"] == "1"
            assert partly["errorMessage"].startswith("dataset 'b': ")
            # So are those of its spans that have a fault of their own.
            request["resourceSpans"][0]["scopeSpans"][0]["spans"] += [TOO_LONG, TOO_LONG]
            partly = (await send(served, "traces", request, authorization=only)).json()["partialSuccess"]
            assert partly["rejectedSpans"] == "3"
            unnamed = await send(served, "traces", FEW["traces"])
            assert (unnamed.status_code, unnamed.json()["code"]) == (400, 3)
            assert "X-Axiom-Dataset" in unnamed.json()["message"]

    asyncio.run(run())


@pytest.mark.parametrize("media_type", [JSON, PROTOBUF])
def test_what_is_refused_is_counted_and_costs_nothing_beside_it(tmp_path: Path, media_type: str) -> None:
    bad = TOO_LONG

    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("a")
            answer = await send(served, "traces", spans({"name": "x"}, bad, bad), media_type, x_axiom_dataset="a")
            assert answer.status_code == 200
            if media_type == JSON:
                partly = answer.json()["partialSuccess"]
                said = int(partly["rejectedSpans"]), partly["errorMessage"]
            else:
                message = ExportTraceServiceResponse.FromString(answer.content).partial_success
                said = message.rejected_spans, message.error_message
            assert said[0] == 2
            assert said[1].startswith("span 1, and 1 others: ")
            assert [row["name"] for row in await rows(served, "a")] == ["x"]
            for signal in FEW:
                empty = await send(served, signal, {} if media_type == JSON else b"", media_type)
                assert (empty.status_code, empty.content) == (200, b"{}" if media_type == JSON else b"")

    asyncio.run(run())


@pytest.mark.parametrize("media_type", [JSON, PROTOBUF])
def test_errors_are_a_status_in_the_encoding_of_the_request(tmp_path: Path, media_type: str) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("a")
            other = f"Bearer {await token_for(served, 'a')}"
            empty = b'{"a":[%b]}' % b",".join([b"{}"] * 100_000) if media_type == JSON else b"\x0a\x00" * 300_000
            for status, code, body, headers in (
                (400, 3, b"\x0a\xff", {"x_axiom_dataset": "a"}),
                (401, 16, FEW["traces"], {"authorization": "", "x_axiom_dataset": "a"}),
                (401, 16, FEW["traces"], {"authorization": "Bearer xaat-unknown"}),
                (403, 7, FEW["traces"], {"authorization": other, "x_axiom_dataset": "b"}),
                (404, 5, FEW["traces"], {"x_axiom_dataset": "b"}),
                (413, 8, gzip.compress(empty), {"x_axiom_dataset": "a", "content_encoding": "gzip"}),
                (415, 3, FEW["traces"], {"x_axiom_dataset": "a", "content_encoding": "lzma"}),
            ):
                answer = await send(served, "traces", body, media_type, **headers)
                assert (answer.status_code, answer.headers["content-type"]) == (status, media_type)
                assert "retry-after" not in answer.headers
                if media_type == JSON:
                    said = answer.json()
                    assert set(said) == {"code", "message"}
                    assert (said["code"], bool(said["message"])) == (code, True)
                else:
                    message = status_pb2.Status.FromString(answer.content)
                    assert (message.code, bool(message.message)) == (code, True)
            text = await send(served, "traces", b"x", "text/plain", x_axiom_dataset="a")
            assert (text.status_code, text.json()["code"]) == (415, 3)
            assert (await served.client.get("/otlp/v1/traces")).status_code == 405

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (Overloaded("later", retry_after_s=3), 429, 8, b"3"),
        (DiskFull("full"), 503, 14, b"1"),
        (BodyTimeout("slow"), 503, 14, b"1"),
        (TailraceError("oops"), 500, 13, None),
    ],
)
def test_what_may_be_sent_again_is_said_as_clients_honour_it(
    error: TailraceError, status: int, code: int, wait: bytes | None
) -> None:
    answer = otlp.render_error(error)

    assert (answer.status, dict(answer.headers).get(b"retry-after")) == (status, wait)
    assert status_of(error).code == code


def test_a_status_with_a_time_to_retry_after_is_google_s() -> None:
    status = status_pb2.Status.FromString(encode_status(status_of(Overloaded("later")), 7))

    retry = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(retry)
    assert (status.code, status.message, retry.retry_delay.seconds) == (8, "later", 7)


def test_apl_queries_metrics_of_every_kind_with_exact_counts(tmp_path: Path) -> None:
    at = {"timeUnixNano": str(START_NS)}
    route = [attribute("http.route", stringValue="/")]
    sent = metrics(
        {
            "name": "g",
            "unit": "By",
            "gauge": {"dataPoints": [{**at, "asDouble": 1.5}, {**at, "asInt": str(2**62 + 1)}]},
        },
        {"name": "s", "sum": {"isMonotonic": True, "dataPoints": [{**at, "asInt": "7", "attributes": route}]}},
        {"name": "h", "histogram": {"dataPoints": [{**at, "count": str(BIG), "bucketCounts": [str(BIG)]}]}},
        {
            "name": "e",
            "exponentialHistogram": {"dataPoints": [{**at, "count": "2", "positive": {"bucketCounts": ["2"]}}]},
        },
        {
            "name": "q",
            "summary": {"dataPoints": [{**at, "count": "3", "quantileValues": [{"quantile": 0.5, "value": 1}]}]},
        },
        resource={"attributes": [attribute("service.name", stringValue="shop"), attribute("team", stringValue="a")]},
    )

    async def run() -> None:
        async with serving(tmp_path) as served:
            body = {"name": "m", "kind": "otel:metrics:v1"}
            assert (await served.client.post("/v2/datasets", json=body)).json()["kind"] == "otel:metrics:v1"
            answer = await send(served, "metrics", sent, PROTOBUF, x_axiom_metrics_dataset="m")
            assert (answer.status_code, answer.content) == (200, b"")
            by_kind = "m | summarize n = count() by ['otel.metric.type'] | sort by ['otel.metric.type'] asc"
            assert await apl(served, by_kind) == [
                ["exponential_histogram", "gauge", "histogram", "sum", "summary"],
                [1, 2, 1, 1, 1],
            ]
            histogram = "m | where metric == 'h' | project ['count'], bucket_counts, ['service.name']"
            assert await apl(served, histogram) == [[BIG], [[BIG]], ["shop"]]
            by_route = (
                "m | where ['attributes.http.route'] == '/' | summarize sum(value) by ['resource.custom']['team']"
            )
            assert await apl(served, by_route) == [["a"], [7]]
            gauge = "m | where metric == 'g' | project value, ['otel.metric.unit'] | sort by value asc"
            assert await apl(served, gauge) == [[1.5, 2**62 + 1], ["By", "By"]]

    asyncio.run(run())


def test_a_key_of_baselime_has_baselime_s_names_on_the_same_path(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            key = {"name": "k", "protocol": "baselime", "datasets": ["*"]}
            made = (await served.client.post("/tailrace/v1/keys", json=key)).json()["key"]
            for headers in ({"authorization": f"Bearer {made}"}, {"authorization": "", "x_api_key": made}):
                assert (await send(served, "traces", FEW["traces"], **headers)).status_code == 200
            assert [row["kind"] for row in await rows(served, "otel")] == ["unspecified", "unspecified"]
            assert all(
                "$baselime.namespace" not in row and row["duration"] == 0.000005 for row in await rows(served, "otel")
            )
            # Without any credential the path is Baselime's.
            assert (await send(served, "traces", FEW["traces"], authorization="")).json() == {"message": "Unauthorised"}

    asyncio.run(run())


def span_of(milliseconds: int, **attributes: str) -> Json:
    end_ns = START_NS + milliseconds * 1_000_000
    sent = [attribute(name.replace("_", "."), stringValue=value) for name, value in attributes.items()]
    return spans(
        {"startTimeUnixNano": str(START_NS), "endTimeUnixNano": str(end_ns), "name": "a", "attributes": sent},
        resource={"attributes": [attribute("team", stringValue="a")]},
    )


async def fields_of(served: Serving, dataset: str) -> dict[str, str]:
    answer = await served.client.get(f"/v2/datasets/{dataset}/fields")
    return {field["name"]: field["type"] for field in answer.json()}


def test_durations_of_spans_are_timespans_and_other_attributes_are_in_maps(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            lake = served.parts.lake
            lake.create("t")
            together = (send(served, "traces", span_of(ms, app_key="x"), x_axiom_dataset="t") for ms in (250, 1500))
            assert {answer.status_code for answer in await asyncio.gather(*together)} == {200}
            fields = await fields_of(served, "t")
            assert {name: fields[name] for name in fields if name in ("duration", "attributes.custom")} == {
                "duration": "timespan",
                "attributes.custom": "map",
            }
            for _ in ("in memory", "in a file"):
                kinds = "gettype(duration), field_metadata('duration').type, avg_ms = duration / 1ms"
                assert await apl(served, f"t | where duration > 1s | project duration, {kinds}") == [
                    ["1.5s"], ["timespan"], ["timespan"], [1500.0]
                ]  # fmt: skip
                maps = "['attributes.custom'], ['resource.custom']"
                assert await apl(served, f"t | take 1 | project {maps}") == [[{"app.key": "x"}], [{"team": "a"}]]
                assert await apl(served, "t | summarize count() by bin(duration, 1s) | sort by duration asc") == [
                    ["0s", "1s"], [1, 1]
                ]  # fmt: skip
                assert await apl(served, "t | getschema | where ColumnName == 'duration' | project DataType") == [
                    ["System.TimeSpan"]
                ]
                lake.commit_now("t")
            [row, _] = await rows(served, "t")
            assert row["duration"] in (250_000_000, 1_500_000_000)  # of SQL, and in the files

            # It is declared once: what a user undoes stays so, and another declaration changes nothing.
            path = "/v2/datasets/t/mapfields"
            assert (await served.client.get(path)).json() == ["attributes.custom", "resource.custom"]
            assert (await served.client.delete(f"{path}/resource.custom")).status_code == 204
            assert (await send(served, "traces", span_of(1), x_axiom_dataset="t")).status_code == 200
            assert (await send(served, "logs", FEW["logs"], x_axiom_dataset="t")).status_code == 200
            assert (await served.client.get(path)).json() == ["attributes.custom"]

    asyncio.run(run())


def test_a_duration_that_a_dataset_has_already_stays_a_number(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("mixed", "other"):
                served.parts.lake.create(name)
                event = {"_time": START_NS, "duration": 12}
                assert (await served.client.post(f"/v1/datasets/{name}/ingest", json=[event])).status_code == 200
            for _ in range(2):
                assert (await send(served, "traces", span_of(1), x_axiom_dataset="mixed")).status_code == 200
            for name, count in (("mixed", 3), ("other", 1)):
                fields = await fields_of(served, name)
                assert fields["duration"] == "integer"
                assert await apl(served, f"{name} | summarize count(), min(duration)") == [[count], [12]]
            # Of values of several types each keeps its own.
            served.parts.lake.create("t")
            assert (await send(served, "traces", span_of(1), x_axiom_dataset="t")).status_code == 200
            assert (
                await served.client.post("/v1/datasets/t/ingest", json=[{"_time": 1, "duration": "1s"}])
            ).status_code == 200
            assert (await fields_of(served, "t"))["duration"] == "integer|string"
            assert await apl(served, "t | where duration > 100us | project duration") == [[1_000_000]]

    asyncio.run(run())


def test_a_dataset_that_is_made_anew_is_declared_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            for _ in range(2):
                await served.client.post("/v2/datasets", json={"name": "t", "kind": "otel:traces:v1"})
                assert (await send(served, "traces", span_of(1), x_axiom_dataset="t")).status_code == 200
                assert await apl(served, "t | project duration") == [["1ms"]]
                dataset = (await served.client.get("/v2/datasets/t")).json()
                assert (dataset["kind"], len(dataset["mapFields"])) == ("otel:traces:v1", 2)
                await served.client.delete("/v2/datasets/t")

    asyncio.run(run())
