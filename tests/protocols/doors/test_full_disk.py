"""On a full disk every door says so as its clients expect it, with when to come again; nothing is stored in part."""

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from protocols.doors.test_prometheus import FIRST, labels, message, sample, snappy
from support.doors import ask, rows, token_for
from support.serving import serving
from support.streams import until

from tailrace.log import local

JOURNAL = b"__REALTIME_TIMESTAMP=1767323045123456\nMESSAGE=m\n\n"
DRAINED = b"45 <13>1 2026-01-01T00:00:00+00:00 h a web.1 - hello"
LOGS = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "m"}}]}]}]}


def requests(token: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a request of one event of each door, or of one for each of two datasets."""
    bearer = {"Authorization": f"Bearer {token}"}
    pair = "".join(f'{{"create":{{"_index":"{name}"}}}}\n{{"n":1}}\n' for name in ("d", "e"))
    series = message((1, message(*labels(__name__="up"), (2, sample(1.0)))))
    records = [{"data": b64encode(b'{"n":1}').decode()}]
    two = "".join(f'{{"index":"{name}","event":{{"n":1}}}}' for name in ("d", "e"))
    typed = {**bearer, "Content-Type": "application/x-ndjson"}
    frame = {"Content-Type": "application/logplex-1", "Logplex-Msg-Count": "1", "Logplex-Frame-Id": "f"}
    return {
        "elastic": ("/_bulk", {"content": pair, "headers": typed}),
        "loki": (
            "/loki/api/v1/push",
            {"json": {"streams": [{"stream": {}, "values": [["1", "m"]]}]}, "headers": bearer},
        ),
        "splunk": ("/services/collector", {"content": two, "headers": {"Authorization": f"Splunk {token}"}}),
        "firehose": (
            "/v1/ingest/d/firehose",
            {
                "json": {"requestId": "r", "timestamp": 1, "records": records},
                "headers": {"X-Amz-Firehose-Access-Key": token},
            },
        ),
        "honeycomb": ("/1/batch/d", {"json": [{"data": {"n": 1}}], "headers": {"X-Honeycomb-Team": token}}),
        "datadog": ("/api/v2/logs", {"json": [{"message": "m"}], "headers": {"DD-API-KEY": token}}),
        "gelf": ("/gelf", {"json": {"version": "1.1", "host": "h", "short_message": "m"}, "headers": bearer}),
        "prometheus": ("/api/v1/write", {"content": snappy(series), "headers": {**bearer, **FIRST}}),
        "victorialogs": ("/insert/jsonline", {"content": '{"_msg":"m"}\n', "headers": bearer}),
        "openobserve": ("/api/o/d/_json", {"json": [{"n": 1}], "headers": bearer}),
        "journald": (
            "/upload",
            {"content": JOURNAL, "headers": {**bearer, "Content-Type": "application/vnd.fdo.journal"}},
        ),
        "heroku": ("/v1/datasets/d/ingest", {"content": DRAINED, "headers": {**bearer, **frame}}),
        "otlp": ("/v1/logs", {"json": LOGS, "headers": bearer}),
    }


def reason_of(door: str, body: bytes) -> str:
    """Return the reason where clients of the door look for it."""
    if door in ("loki", "gelf", "prometheus", "victorialogs", "journald"):
        return body.decode()
    said = json.loads(body)
    found: dict[str, Any] = {
        "elastic": lambda: said["error"]["reason"],
        "splunk": lambda: said["detail"],
        "firehose": lambda: said["errorMessage"],
        "honeycomb": lambda: said["error"],
        "datadog": lambda: said["errors"][0]["detail"],
    }
    reason: str = found.get(door, lambda: said["message"])()
    return reason


def test_a_full_disk_is_told_and_the_same_is_taken_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "DISK_CHECK_S", 0.05)

    async def run() -> None:
        async with serving(tmp_path) as served:
            for name in ("d", "e"):
                served.parts.lake.create(name)
            token = await token_for(served, "d", "e", defaultDataset="d")
            log = served.parts.log
            with monkeypatch.context() as patch:
                patch.setattr(log, "_free_bytes", lambda: -1)
                patch.setattr(log, "_checked_disk_at", float("-inf"))
                for door, (path, request) in requests(token).items():
                    answer = await ask(served, "POST", path, **request)
                    assert answer.status_code == 503, (door, answer.text)
                    assert int(answer.headers["retry-after"]) > 0, door
                    assert "log_min_free_bytes" in reason_of(door, answer.content), (door, answer.text)
                assert await rows(served, "d") == await rows(served, "e") == []
            await until(lambda: not log.fault)
            for door, (path, request) in requests(token).items():
                answer = await ask(served, "POST", path, **request)
                assert answer.status_code < 300, (door, answer.text)
            assert (len(await rows(served, "d")), len(await rows(served, "e"))) == (13, 2)

    asyncio.run(run())
