"""What a compressed body is decoded to counts among the bodies in memory, by whichever door it came."""

import asyncio
import gzip
import zlib
from pathlib import Path

import cramjam
import pytest
from support.doors import ask, rows, token_for
from support.serving import serving

from tailrace.events import Overloaded
from tailrace.server.request_body import RequestBacklog, RequestBody, RequestBodyLimits, RequestReceiver

MIB = 1024 * 1024
JSON = "application/json"
EVENT = b'{"message": "hello"}'
SNAPPY = bytes(cramjam.snappy.compress_raw(b"\n\x00"))
CASES = [
    ("/v1/datasets/logs/ingest", JSON, "gzip", gzip.compress(EVENT)),
    ("/v1/datasets/logs/ingest", JSON, "", gzip.compress(EVENT)),
    ("/loki/api/v1/push", "application/x-protobuf", "", SNAPPY),
    ("/api/v1/write", "application/x-protobuf", "snappy", SNAPPY),
    ("/gelf", JSON, "", zlib.compress(EVENT)),
    ("/1/events/logs", JSON, "gzip", gzip.compress(EVENT)),
    ("/services/collector", JSON, "gzip", gzip.compress(EVENT)),
    ("/v1/logs", JSON, "gzip", gzip.compress(EVENT)),
]


def test_each_door_refuses_what_would_be_too_much_so_that_it_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(body: RequestBody, size: int) -> None:
        assert size > 0
        raise Overloaded("too many")

    monkeypatch.setattr(RequestBody, "hold", refuse)

    async def run() -> None:
        async with serving(tmp_path) as served:
            served.parts.lake.create("logs")
            token = await token_for(served, "logs")
            for path, media, encoding, body in CASES:
                headers = {"Authorization": f"Bearer {token}", "Content-Type": media}
                if encoding:
                    headers["Content-Encoding"] = encoding
                answer = await ask(served, "POST", path, content=body, headers=headers)
                assert answer.status_code in (429, 503), (path, answer.text)
                assert answer.headers["retry-after"], path
            assert await rows(served, "logs") == []

    asyncio.run(run())


def test_decoded_bytes_are_counted_until_the_answer() -> None:
    async def run() -> None:
        shared = RequestBacklog(RequestBodyLimits(receive_backlog_bytes=MIB))
        receiver = RequestReceiver(lambda: asyncio.sleep(0), shared)  # type: ignore[arg-type,return-value]
        first, second = (RequestBody(receiver, 1, shared) for _ in range(2))
        first.hold(MIB)
        with pytest.raises(Overloaded):
            second.hold(1)
        first.release()
        second.hold(2 * MIB)  # it is alone
        second.release()
        assert shared.bytes == 0

    asyncio.run(run())
