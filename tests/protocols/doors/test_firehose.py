"""Amazon Data Firehose: records of every kind become events, and each answer is one that a stream understands."""

import asyncio
import gzip
import json
import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.serving import Serving, serving

from tailrace.events import Overloaded
from tailrace.parsing import EventCollector, Limits
from tailrace.protocols.doors.firehose_records import RecordReader

# AWS, "Understand HTTP endpoint delivery request and response specifications": the id, the time and the attributes.
ID = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"
SENT_MS = 1578090901599
SENT = "2020-01-03T22:35:01.599Z"
ATTRIBUTES = '{"commonAttributes":{"deployment -context":"pre-prod-gamma","device-types":""}}'
# AWS, "Real-time processing of log data with subscriptions", whose example is of CloudTrail; a message that is JSON,
# and one of a function.
LOGS = {
    "owner": "111111111111",
    "logGroup": "/aws/lambda/checkout",
    "logStream": "2015/05/28/[$LATEST]0123",
    "subscriptionFilters": ["Destination"],
    "messageType": "DATA_MESSAGE",
    "logEvents": [
        {
            "id": "31953106606966983378809025079804211143289615424298221568",
            "timestamp": 1432826855000,
            "message": '{"eventVersion":"1.03","big":9007199254740993}',
        },
        {
            "id": "31953106606966983378809025079804211143289615424298221569",
            "timestamp": 1432826855001,
            "message": "END",
        },
    ],
}
CONTROL = {
    "messageType": "CONTROL_MESSAGE",
    "owner": "CloudwatchLogs",
    "logGroup": "",
    "logStream": "",
    "subscriptionFilters": [],
    "logEvents": [
        {
            "id": "",
            "timestamp": 1510254469274,
            "message": "CWL CONTROL MESSAGE: Checking health of destination Kinesis stream.",
        }
    ],
}
# AWS, "CloudWatch metric stream output in JSON format".
METRIC = (
    b'{"metric_stream_name":"MyMetricStream","account_id":"1234567890","region":"us-east-1","namespace":"AWS/EC2",'
    b'"metric_name":"DiskWriteOps","dimensions":{"InstanceId":"i-123456789012"},"timestamp":1611929698000,'
    b'"value":{"count":3.0,"sum":20.0,"max":18.0,"min":0.0,"p99":17.56,"p99.9":17.8764,"TM(25%:75%)":16.43},'
    b'"unit":"Seconds"}\n'
)


# AWS, "CloudWatch metric stream output in OpenTelemetry 1.0.0 format" and "… 0.7.0 format".
RESOURCE = {"cloud.provider": "aws", "cloud.account.id": "123456789012", "cloud.region": "us-east-1"}
START_NS, END_NS = 1604948400000000000, 1604948460000000000
NAME = "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits"
LABELS = {"Namespace": "AWS/DynamoDB", "MetricName": "ConsumedReadCapacityUnits", "TableName": "", "é": "MyTable"}
QUANTILES = {0.0: 1.0, 0.99: 3.5, 1.0: 4.0}


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def field(number: int, value: bytes | str | float) -> bytes:
    """Return a field of a message: nested or a text, a fixed64, or a double."""
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(data)) + data
    return varint(number << 3 | 1) + struct.pack("<Q" if isinstance(value, int) else "<d", value)


def summary_request(*, is_old: bool, count: int = 2**53 + 1, points: int = 1) -> bytes:
    """Return a request of one metric, in format 0.7.0 where it `is_old`."""

    def attribute(key: str, value: str) -> bytes:
        return field(1, key) + field(2, field(1, value))

    labels = (field(1, field(1, key) + field(2, value)) for key, value in LABELS.items())
    attributes = (field(7, attribute(*each)) for each in LABELS.items())
    quantiles = (field(6, field(1, quantile) + field(2, value)) for quantile, value in QUANTILES.items())
    values = field(2, START_NS) + field(3, END_NS) + field(4, count) + field(5, 7.25)
    point = b"".join((*(labels if is_old else attributes), values, *quantiles))
    metric = field(1, NAME) + field(3, "1") + field(11, field(1, point) * points)
    resource = b"".join(field(1, attribute(*each)) for each in RESOURCE.items())
    return field(1, field(1, resource) + field(2, field(2, metric)))


def framed(*requests: bytes) -> bytes:
    return b"".join(varint(len(request)) + request for request in requests)


def body_of(*records: bytes) -> bytes:
    listed = [{"data": b64encode(record).decode()} for record in records]
    return json.dumps({"requestId": ID, "timestamp": SENT_MS, "records": listed}).encode()


def run(directory: Path, test: Callable[[Serving, str], Awaitable[None]]) -> None:
    async def serve() -> None:
        async with serving(directory) as served:
            served.parts.lake.create("logs")
            made = {"name": "stream", "datasetCapabilities": {"logs": {"ingest": ["create"]}}}
            await test(served, (await served.client.post("/v2/tokens", json=made)).json()["token"])

    asyncio.run(serve())


async def send(served: Serving, token: str, body: bytes, headers: Mapping[str, str] = {}) -> httpx.Response:
    sent = {
        "Content-Type": "application/json",
        "X-Amz-Firehose-Protocol-Version": "1.0",
        "X-Amz-Firehose-Request-Id": ID,
        "X-Amz-Firehose-Source-Arn": "arn:aws:firehose:us-east-1:123456789:deliverystream/testStream",
        "X-Amz-Firehose-Access-Key": token,
        **headers,
    }
    async with httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1") as client:
        return await client.post("/v1/datasets/logs/ingest/firehose", content=body, headers=sent)


async def events_of(served: Serving) -> list[dict[str, Any]]:
    rows = await asyncio.to_thread(served.parts.rows, "logs", "_sysTime")
    return [{**row, **row.pop("_rest", {})} for row in rows]  # with what has no column


def test_records_of_each_kind_are_stored_before_the_answer(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        records = (
            b"hello\n\nhello world",
            b'{"kind":"one","big":9007199254740993}',
            b'{"kind":"line","n":1}\n{"kind":"line","n":2}\n',
            b'{"kind":"joined","n":1}{"kind":"joined","n":2}',
            b'[{"kind":"array","_time":"2020-01-01T00:00:00Z"}]',
            gzip.compress(b'{"kind":"gzip"}'),
            METRIC,
            b"",
        )
        answer = await send(served, token, body_of(*records))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        said = answer.json()
        assert (said.pop("requestId"), said.pop("timestamp") > SENT_MS, said) == (ID, True, {})
        stored = await events_of(served)
        texts = [event for event in stored if "message" in event]
        assert sorted(event["message"] for event in texts) == ["hello", "hello world"]
        assert {event["_time"] for event in texts} == {SENT}
        kinds = sorted(f"{event['kind']}{event.get('n', '')}" for event in stored if "kind" in event)
        assert kinds == ["array", "gzip", "joined1", "joined2", "line1", "line2", "one"]
        assert [event["big"] for event in stored if event.get("kind") == "one"] == [9007199254740993]
        (metric,) = [event for event in stored if "metric_name" in event]
        assert metric["_time"] == "2021-01-29T14:14:58Z"
        assert metric["value.p99.9"] == 17.8764

    run(tmp_path, test)


def test_records_of_cloudwatch_logs_are_an_event_for_each_line(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        compressed = [gzip.compress(json.dumps(each).encode()) for each in (CONTROL, LOGS)]
        body = body_of(*compressed, json.dumps(LOGS).encode())  # the stream may have inflated it
        answer = await send(served, token, gzip.compress(body), {"Content-Encoding": "gzip"})
        assert (answer.status_code, answer.json()["requestId"]) == (200, ID)
        stored = await events_of(served)
        assert len(stored) == 4
        first = next(event for event in stored if event["message"].startswith("{"))
        assert first.pop("_time") == "2015-05-28T15:27:35Z"
        assert first == {
            "id": "31953106606966983378809025079804211143289615424298221568",
            "message": LOGS["logEvents"][0]["message"],  # type: ignore[index]
            "lambda.eventVersion": "1.03",
            "lambda.big": 9007199254740993,
            "aws.owner": "111111111111",
            "aws.logGroup": "/aws/lambda/checkout",
            "aws.logStream": "2015/05/28/[$LATEST]0123",
            "aws.messageType": "DATA_MESSAGE",
            "aws.subscriptionFilters": ["Destination"],
            "aws.serviceName": "lambda",
            "aws.logGroupName": "checkout",
        }

    run(tmp_path, test)


def test_common_attributes_are_fields_of_every_event(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        headers = {"X-Amz-Firehose-Common-Attributes": ATTRIBUTES}
        assert (await send(served, token, body_of(b"a", b"b"), headers)).status_code == 200
        found = [(event["deployment -context"], event["device-types"]) for event in await events_of(served)]
        assert found == [("pre-prod-gamma", "")] * 2
        for value in ("{", "{}", '{"commonAttributes":{"n":1}}', '{"commonAttributes":{"_time":"now"}}'):
            refused = await send(served, token, body_of(b"c"), {"X-Amz-Firehose-Common-Attributes": value})
            assert (refused.status_code, refused.json()["requestId"]) == (400, ID), value

    run(tmp_path, test)


@pytest.mark.parametrize("is_old", [False, True])
def test_data_points_of_a_metric_stream_in_formats_of_opentelemetry(tmp_path: Path, is_old: bool) -> None:
    async def test(served: Serving, token: str) -> None:
        several = framed(*(summary_request(is_old=is_old, count=count, points=2) for count in (5, 6)))
        records = (framed(summary_request(is_old=is_old)), gzip.compress(several))
        answer = await send(served, token, body_of(*records))
        assert (answer.status_code, "errorMessage" in answer.json()) == (200, False)
        stored = await events_of(served)
        assert sorted(event["count"] for event in stored) == [5, 5, 6, 6, 2**53 + 1]
        first = next(event for event in stored if event["count"] == 2**53 + 1)
        assert {name: value for name, value in first.items() if name != "count"} == {
            "_time": "2020-11-09T19:01:00Z",
            "metric": NAME,
            "otel.metric.type": "summary",
            "otel.metric.unit": "1",
            "start_time_unix_nano": START_NS,
            "sum": 7.25,
            "quantiles": [{"quantile": quantile, "value": value} for quantile, value in QUANTILES.items()],
            "resource.cloud.provider": "aws",
            "resource.cloud.account.id": "123456789012",
            "resource.cloud.region": "us-east-1",
            **{f"attributes.custom.{name}": value for name, value in LABELS.items()},
        }

    run(tmp_path, test)


def test_what_is_no_metric_stream_to_its_end_is_kept_as_it_was_sent(tmp_path: Path) -> None:
    request = summary_request(is_old=True)

    async def test(served: Serving, token: str) -> None:
        broken = framed(request, field(1, b"\xff" * 9))
        records = (
            framed(request)[:-1],
            framed(request) + b"\x01",
            varint(2**40) + request,
            broken,
            b"\x02\x0a\x00\xff",
        )
        empty = framed(b"\x0a\x00" * 200_000)
        answer = await send(served, token, body_of(*records, empty))
        assert answer.status_code == 200
        assert "1 of the events are refused: record 5: " in answer.json()["errorMessage"]
        kept = sorted(event["data"] for event in await events_of(served))
        assert kept == sorted(b64encode(record).decode() for record in records)

    run(tmp_path, test)


def test_a_request_that_is_sent_again_is_stored_once(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        body = body_of(b'{"n":1}', b'{"n":2}', b"\x1f\x8b")
        later = body.replace(str(SENT_MS).encode(), str(SENT_MS + 1000).encode())
        untimed = body.replace(f'"timestamp": {SENT_MS}, '.encode(), b"")
        owner = served.client.headers["authorization"].removeprefix("Bearer ")
        answers = [
            await send(served, key, sent, {"Content-Encoding": "gzip"} if sent[:1] == b"\x1f" else {})
            for key, sent in ((token, body), (token, later), (token, untimed), (token, gzip.compress(body)))
        ]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["errorMessage"] for answer in answers}) == 1
        assert sorted(event["n"] for event in await events_of(served)) == [1, 2]
        # The same id of another sender, or for other records, as of requests by hand, is another request.
        assert (await send(served, owner, body_of(b'{"n":2}'))).status_code == 200
        assert (await send(served, token, body_of(b'{"n":3}'))).status_code == 200
        assert (await send(served, token, body.replace(ID.encode(), b"other"))).status_code == 200
        for _ in range(2):
            assert (await send(served, token, body_of(b'{"n":4}').replace(ID.encode(), b""))).status_code == 200
        assert sorted(event["n"] for event in await events_of(served)) == [1, 1, 2, 2, 2, 3, 4, 4]

    run(tmp_path, test)


def test_a_bad_record_costs_no_other_and_is_not_sent_again(tmp_path: Path) -> None:
    async def test(served: Serving, token: str) -> None:
        long = json.dumps({"n" * 201: 1}).encode()
        body = body_of(b'{"n":1}', long, b'{"n":', b"\xff\xfe", gzip.compress(b"x")[:-4], b'{"n":2}')
        body = body.replace(b'"records": [', b'"records": [{"data": "~"}, {"data": 1}, 7, ')
        answer = await send(served, token, body)
        said = answer.json()
        assert (answer.status_code, said["requestId"]) == (200, ID)
        assert said["errorMessage"].startswith("5 of the events are refused: record 0: the record is not base64")
        assert [name in said["errorMessage"] for name in ("record 1:", "record 2:", "record 4:", "record 7:")]
        stored = await events_of(served)
        assert sorted(event["n"] for event in stored if "n" in event) == [1, 2]
        # What is no JSON is a line of text; what is no text is as it was sent.
        assert [event["message"] for event in stored if "message" in event] == ['{"n":']
        assert [event["data"] for event in stored if "data" in event] == ["//4="]
        # Where none can be stored the stream shall put the request into its bucket.
        nothing = await send(served, token, body_of(long))
        assert (nothing.status_code, nothing.json()["requestId"]) == (400, ID)
        assert "max_name_bytes" in nothing.json()["errorMessage"]

    run(tmp_path, test)


def test_every_error_has_the_id_of_its_request_and_a_status_after_which_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(served: Serving, token: str) -> None:
        owner = served.client.headers["authorization"].removeprefix("Bearer ")
        other = (
            await served.client.post("/v2/tokens", json={"name": "t", "orgCapabilities": {"users": ["read"]}})
        ).json()
        many = b'{"requestId":"i","timestamp":1,"records":[' + b"7," * 100_100 + b"7]}"
        bomb = body_of(*[gzip.compress(bytes(40 * 1024 * 1024), 9)] * 5)
        for key, body, status, reason in (
            ("no-such", body_of(b"a"), 401, "the token is not valid"),
            (other["token"], body_of(b"a"), 403, "ingest:create"),
            (owner, b'{"requestId":"i","timestamp":1}', 400, "records"),
            (owner, b"[" * 100_000, 400, "no request of Firehose"),
            (owner, many, 400, "max_events"),
            (owner, bomb, 400, "inflates to more than"),
            (owner, b"x" * (65 * 1024 * 1024), 400, "max_wire_bytes"),
        ):
            answer = await send(served, key, body)
            said = answer.json()
            assert (answer.status_code, said["requestId"]) == (status, ID), said
            assert reason in said["errorMessage"]
            assert said["timestamp"] > SENT_MS
        assert await events_of(served) == []

        def refuse(name: str) -> None:
            raise Overloaded("too much", retry_after_s=1)

        monkeypatch.setattr(served.parts.service, "check_dataset", refuse)
        busy = await send(served, token, body_of(b"a"))
        assert (busy.status_code, busy.json()["requestId"], busy.json()["errorMessage"]) == (429, ID, "too much")

    run(tmp_path, test)


METRICS = st.integers(0, 600).map(lambda size: framed(*[summary_request(is_old=True)] * 2)[:size])


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode), METRICS), max_size=5))
def test_no_record_is_lost_whatever_it_holds(records: list[bytes]) -> None:
    limits = Limits()
    collector = EventCollector(limits, SENT_MS * 1_000_000)
    reader = RecordReader(collector, limits, "d", SENT_MS * 1_000_000)
    for number, record in enumerate(records):
        reader.read(number, b64encode(record).decode())
    kept = sum(batch.count for batch in collector.batches().values())
    refused = len(collector.rejections) + sum(len(batch.rejections) for batch in collector.batches().values())
    holding = [record for record in records if record.strip() and record.strip() != b"[]"]
    assert kept + refused >= len(holding)
