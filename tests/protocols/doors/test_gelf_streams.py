"""GELF by TCP and UDP: what graypy sends is stored, whole, in chunks and compressed; what is none is refused."""

import asyncio
import json
import logging
import zlib
from pathlib import Path

import graypy
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from support.ingest import ROOT_TOKEN
from support.streams import HOST, open_door, until

from tailrace.parsing import Limits
from tailrace.protocols.doors.gelf_streams import DOOR, GelfDatagrams, GelfSession, decoded_bytes
from tailrace.protocols.stream import Origin, StreamBatch, StreamOptions

OPTIONS = StreamOptions(dataset="logs", token=ROOT_TOKEN)


def emit(handler: logging.Handler, *texts: str) -> None:
    for text in texts:
        handler.emit(logging.LogRecord("app", logging.WARNING, "", 0, text, (), None))
    handler.close()


def test_graypy_sends_by_tcp_and_udp(tmp_path: Path) -> None:
    large = "".join(str(number) for number in range(5_000))  # several chunks, also compressed

    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS, ("tcp", "udp")) as door:
            door.parts.lake.create("logs")
            await asyncio.to_thread(emit, graypy.GELFTCPHandler(HOST, door.ports["tcp"]), "by tcp", large)
            await asyncio.to_thread(emit, graypy.GELFUDPHandler(HOST, door.ports["udp"]), "by udp", large)
            await asyncio.to_thread(
                emit, graypy.GELFUDPHandler(HOST, door.ports["udp"], compress=False), "as it is", large
            )
            await until(lambda: door.parts.metrics.events["gelf"] == 6)
            sent = ["by tcp", "by udp", "as it is", large, large, large]
            assert sorted(str(row["message"]) for row in await door.rows("logs")) == sorted(sent)
            assert door.refusals == []

    uvloop.run(run())


def test_what_is_no_message_costs_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS, ("tcp", "udp")) as door:
            door.parts.lake.create("logs")
            good = json.dumps({"version": "1.1", "host": "h", "short_message": "good", "_n": 1}).encode()
            await door.send(good + b"\0no json\0\n\0" + good)
            broken = zlib.compress(good)[:-4]
            door.send_datagrams(broken, b"\x1e\x0f", b"{}", zlib.compress(good))
            await until(lambda: door.parts.metrics.events["gelf"] == 3)
            await until(lambda: sum(door.parts.metrics.rejections.values()) == 4)
            assert [row["n"] for row in await door.rows("logs")] == [1, 1, 1]

    uvloop.run(run())


@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda each: each.translate(None, b"\0"))), st.data())
def test_messages_are_told_apart_whatever_the_pieces(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(message + b"\0" for message in messages) + b"rest"
    session = GelfSession(Limits(), Origin(""))
    found: list[bytes] = []
    at = 0
    for cut in (*sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6))), len(stream)):
        found += session.split(stream[at:cut])
        at = cut

    assert (found, session.end(), session.fault) == (messages, [b"rest"], None)


def test_a_message_that_is_too_long_ends_the_connection() -> None:
    session = GelfSession(Limits(max_event_bytes=1024), Origin(""))
    for _ in range(2):
        assert session.split(b"x" * 600) == []
    assert session.fault is not None
    assert session.fault.code == "too_large"


def test_what_datagrams_decompress_to_is_bounded_for_all_together() -> None:
    limits = Limits(max_event_bytes=100_000, max_body_bytes=350_000)
    text = b'{"short_message":"%b"}'
    bomb, small = zlib.compress(text % (b"a" * 90_000)), zlib.compress(text % b"small")
    chunks = [b"\x1e\x0f12345678\x00\x02" + bomb[:50], b"\x1e\x0f12345678\x01\x02" + bomb[50:]]
    sent = (small, bomb, *chunks, bomb, bomb, bomb, bomb, small)
    batch = StreamBatch(limits, 0)
    GelfDatagrams(OPTIONS, limits).read([(each, Origin("127.0.0.1")) for each in sent], batch, 0)
    stored = sum(part.parsed.events.count(b"\n") for part in batch.parts())
    assert sum(len(part.parsed.events) for part in batch.parts()) <= limits.max_body_bytes
    assert (stored, len(batch.rejections())) == (4, 4)
    assert decoded_bytes(limits, bomb) == decoded_bytes(limits, chunks[0]) == limits.max_event_bytes
    assert decoded_bytes(limits, text % b"plain") == len(text % b"plain")
