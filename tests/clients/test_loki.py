"""Clients of Loki: python-logging-loki unmodified, and a body as Promtail sends it, again after a kill."""

import logging
from base64 import b64encode
from queue import Queue
from typing import TYPE_CHECKING

import cramjam
import httpx
import logging_loki
import pytest

from tailrace.protocols.doors.loki_messages import ENTRY, PUSH, STREAM

if TYPE_CHECKING:
    from conftest import MakeServer, Server

T = 1_767_323_045_123_456_000


@pytest.mark.parametrize("version", ["0", "1"])
def test_python_logging_loki(server: "Server", dataset: str, version: str) -> None:
    handler = logging_loki.LokiHandler(
        url=f"{server.url}/loki/api/v1/push",
        tags={"application": 'my "app"'},
        auth=("anyone", server.api_token(dataset)),
        version=version,
    )
    faults: list[logging.LogRecord] = []
    handler.handleError = faults.append
    logger = logging.Logger("my-logger")
    logger.addHandler(handler)
    try:
        logger.error("Something happened \u20ac", extra={"tags": {"service": "my-service"}})
        logger.info("line\nanother")
    finally:
        handler.emitter.close()

    assert faults == []
    fields = "message, application, service, severity, logger, _time > '2026-01-01' AS recent"
    shared = {"application": 'my "app"', "logger": "my-logger", "recent": True}
    assert server.sql(f'SELECT {fields} FROM "{dataset}" ORDER BY _time') == [
        {"message": "Something happened \u20ac", "service": "my-service", "severity": "error", **shared},
        {"message": "line\nanother", "service": None, "severity": "info", **shared},
    ]


def test_python_logging_loki_by_its_queue_tells_what_was_refused(server: "Server", dataset: str) -> None:
    queue: Queue[logging.LogRecord] = Queue(-1)
    handler = logging_loki.LokiQueueHandler(
        queue, url=f"{server.url}/loki/api/v1/push", auth=("anyone", "no-such-token"), version="1"
    )
    faults: list[logging.LogRecord] = []
    handler.handler.handleError = faults.append
    logger = logging.Logger("queued")
    logger.addHandler(handler)
    logger.warning("lost")
    handler.listener.stop()
    handler.handler.emitter.close()

    assert [record.getMessage() for record in faults] == ["lost"]


def test_a_batch_of_promtail_is_there_after_a_kill_and_its_retry_is_answered(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.create("logs")
    stream = STREAM(labels=rb'{filename="/var/log/a.log", job="varlogs"}')
    for number in range(3):
        seconds, nanos = divmod(T + 1000 * number, 10**9)
        entry = ENTRY(line=b"line %d" % number, timestamp={"seconds": seconds, "nanos": nanos})
        stream.entries.append(entry.SerializeToString())
    push = PUSH(streams=[stream.SerializeToString()])
    basic = b64encode(f"promtail:{server.api_token('logs')}".encode()).decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "Content-Type": "application/x-protobuf",
        "User-Agent": "promtail/2.9.2",
    }

    def send(url: str) -> tuple[int, bytes]:
        body = bytes(cramjam.snappy.compress_raw(push.SerializeToString()))
        answer = httpx.post(f"{url}/loki/api/v1/push", content=body, headers=headers, trust_env=False)
        return answer.status_code, answer.content

    assert send(server.url) == (204, b"")
    server.kill()
    again = make_server(data=server.data).start()
    assert send(again.url) == (204, b"")

    rows = again.sql("SELECT message, job, filename FROM logs ORDER BY _time")
    line = {"job": "varlogs", "filename": "/var/log/a.log"}
    assert rows == [{"message": f"line {number}", **line} for number in range(3) for _ in range(2)]
