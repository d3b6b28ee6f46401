"""A server that is killed amid requests, whose senders repeat them: what has an id or a key is there just once."""

import json
import re
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import cramjam
import httpx
from msgspec import Struct
from support.ports import free_port
from support.waiting import wait_until

from tailrace.protocols.doors.prometheus_messages import CLASSES

if TYPE_CHECKING:
    from conftest import MakeServer

HOST = "127.0.0.1"
WAIT_S = 60
NOW_NS = 1_767_323_045_000_000_000
BEFORE, BEHIND = 2, 2  # requests of each sender that are answered before the kill, and behind the start, at least
RECORD = {"timeUnixNano": str(NOW_NS), "body": {"stringValue": "?"}}
OTLP = {"resourceLogs": [{"scopeLogs": [{"logRecords": [RECORD]}]}]}
LOKI = {"streams": [{"stream": {"a": "b"}, "values": [[str(NOW_NS), "?"]]}]}


class KillDoor(Struct, frozen=True):
    """How one event is sent that has the mark "?"; "TOKEN" is the token, "KEY" the id of the request or event."""

    path: str
    body: str
    headers: Mapping[str, str] = {}
    encode: Callable[[str], bytes] = str.encode
    has_own_id: bool = False  # in the protocol itself; else the header Idempotency-Key has it


def firehose(body: str) -> bytes:
    record, identity = body.split("\n")
    return json.dumps(
        {"requestId": identity, "timestamp": 1, "records": [{"data": b64encode(record.encode()).decode()}]}
    ).encode()


def logplex(body: str) -> bytes:
    return f"{len(body)} {body}".encode()


def prometheus(body: str) -> bytes:
    classes = CLASSES[1]
    series = classes["TimeSeries"](
        labels=[{"name": b"__name__", "value": b"up"}, {"name": b"mark", "value": body.encode()}],
        samples=[{"value": 1.0, "timestamp": NOW_NS // 1_000_000}],
    )
    request = classes["Request"](timeseries=[series.SerializeToString()])
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


JSON = {"Content-Type": "application/json"}
BEARER = {"Authorization": "Bearer TOKEN"}
DOORS = {
    "axiom": KillDoor("/v1/datasets/logs/ingest", '[{"message":"?"}]', {**BEARER, **JSON}),
    "elastic-create": KillDoor(
        "/logs/_bulk", '{"create":{"_id":"KEY"}}\n{"message":"?"}\n', {"Authorization": "ApiKey TOKEN"}, has_own_id=True
    ),
    "elastic-index": KillDoor(
        "/logs/_bulk", '{"index":{"_id":"KEY"}}\n{"message":"?"}\n', {"Authorization": "ApiKey TOKEN"}, has_own_id=True
    ),
    "firehose": KillDoor(
        "/v1/ingest/logs/firehose",
        '{"message":"?"}\nKEY',
        {"X-Amz-Firehose-Access-Key": "TOKEN", **JSON},
        firehose,
        has_own_id=True,
    ),
    "heroku": KillDoor(
        "/v1/ingest/logs",
        "<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - ?",
        {
            **BEARER,
            "Content-Type": "application/logplex-1",
            "Logplex-Msg-Count": "1",
            "Logplex-Frame-Id": "KEY",
            "Logplex-Drain-Token": "d.1",
        },
        logplex,
        has_own_id=True,
    ),
    "loki": KillDoor("/loki/api/v1/push", json.dumps(LOKI), {**BEARER, **JSON}),
    "prometheus": KillDoor("/api/v1/write", "?", BEARER, prometheus),
    "splunk": KillDoor("/services/collector", '{"event":{"message":"?"}}', {"Authorization": "Splunk TOKEN"}),
    "honeycomb": KillDoor("/1/batch/logs", '[{"data":{"message":"?"}}]', {"X-Honeycomb-Team": "TOKEN", **JSON}),
    "datadog": KillDoor("/api/v2/logs", '[{"message":"?"}]', {"DD-API-KEY": "TOKEN", **JSON}),
    "otlp": KillDoor("/v1/logs", json.dumps(OTLP), {**BEARER, **JSON, "X-Axiom-Dataset": "logs"}),
    "gelf": KillDoor("/gelf/TOKEN", '{"version":"1.1","host":"h","short_message":"?"}'),
    "victorialogs": KillDoor("/insert/jsonline", '{"message":"?"}', BEARER),
    "openobserve": KillDoor("/api/default/logs/_json", '[{"message":"?"}]', {**BEARER, **JSON}),
    "journald": KillDoor(
        "/upload",
        "__REALTIME_TIMESTAMP=1767323045000000\nMESSAGE=?\n\n",
        {**BEARER, "Content-Type": "application/vnd.fdo.journal"},
    ),
}


class Sender:
    """Sends through one door, event after event, and each again until it is answered."""

    def __init__(self, name: str, url: str, token: str, again: threading.Event) -> None:
        self.sent = 0  # events that were answered
        self._name, self._door, self._token = name, DOORS[name], token
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=WAIT_S)
        self._again = again

    def run(self) -> None:
        """Send until the server is there again, and a few more behind."""
        with self._client:
            left = BEHIND
            while left:
                is_again = self._again.is_set()
                if is_again and self.sent and left == BEHIND:
                    self._send(self.sent - 1)  # as if the answer had been lost
                self._send(self.sent)
                self.sent += 1
                left -= is_again

    def _send(self, number: int) -> None:
        key = f"{self._name}-{number}"
        fill = partial(_filled, token=self._token, key=key, mark=f"{self._name}#{number}")
        headers = {name: fill(value) for name, value in self._door.headers.items()}
        if not self._door.has_own_id:
            headers["Idempotency-Key"] = key
        request = self._client.build_request(
            "POST", fill(self._door.path), content=self._door.encode(fill(self._door.body)), headers=headers
        )
        try:
            answer = self._client.send(request)
        except httpx.TransportError:
            assert self._again.wait(WAIT_S)
            answer = self._client.send(request)
        assert answer.is_success, f"{key}: {answer.status_code} {answer.text}"


def _filled(text: str, *, token: str, key: str, mark: str) -> str:
    return text.replace("TOKEN", token).replace("KEY", key).replace("?", mark)


def test_what_has_an_id_is_stored_once_when_the_server_is_killed_amid_requests(make_server: "MakeServer") -> None:
    server = make_server(f"--port={free_port()}").start()
    server.create("logs")
    token, again = server.api_token("logs"), threading.Event()
    senders = {name: Sender(name, server.url, token, again) for name in DOORS}

    with ThreadPoolExecutor(len(DOORS)) as pool:
        runs = [pool.submit(sender.run) for sender in senders.values()]
        try:
            wait_until(lambda: any(run.done() for run in runs) or all(each.sent >= BEFORE for each in senders.values()))
            server.kill()
            server.start()
        finally:
            again.set()
        for run in runs:
            run.result()

    rows = server.sql("SELECT * FROM logs")
    found = Counter(mark for row in rows for mark in set(re.findall(r"[a-z-]+#\d+", json.dumps(row))))
    assert found == {f"{name}#{number}": 1 for name, sender in senders.items() for number in range(sender.sent)}
    assert len(rows) == len(found)
