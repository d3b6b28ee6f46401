"""Amazon Data Firehose: records of every kind become events, and each answer is one that a stream understands."""

import asyncio
import gzip
import json
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


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), max_size=5))
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
