"""Datagrams to a door: stored, or dropped and counted, and never more of them in memory than a setting says."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
from protocols.toy_stream import TOY_STREAM
from support.ingest import ROOT_TOKEN
from support.streams import HOST, open_door, until

from tailrace.events import Overloaded
from tailrace.protocols.stream import StreamOptions
from tailrace.server.streams.settings import StreamLimits

OPTIONS = StreamOptions(dataset="logs", token=ROOT_TOKEN)


def test_datagrams_are_events_and_refused_ones_are_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, ("udp",)) as door:
            door.parts.lake.create("logs")
            door.send_datagrams(b"a", b"bad", b"", b"b")
            await until(lambda: door.parts.metrics.events["toy"] == 3)
            assert sorted(str(row["line"]) for row in await door.rows("logs")) == ["", "a", "b"]
            assert door.parts.metrics.rejections == {("toy", "udp", "invalid_event"): 1}
            assert [refusal.method for refusal in door.refusals] == ["UDP"]

    uvloop.run(run())


def test_a_flood_is_dropped_and_counted_and_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.server.streams.store.RETRY_AFTER_S", 0.02)

    async def run() -> None:
        limits = StreamLimits(datagram_backlog_bytes=64 * 1024)
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, ("udp",), limits=limits) as door:
            door.parts.lake.create("logs")
            listener = door.listeners._datagrams[0][1]
            metrics, check, full = door.parts.metrics, door.parts.service._check_backlog, True

            def refuse() -> None:
                if full:
                    raise Overloaded("too much", retry_after_s=1)
                check()

            monkeypatch.setattr(door.parts.service, "_check_backlog", refuse)
            sent = 0
            while metrics.dropped["toy", "queue_full"] < 100:
                door.send_datagrams(*[b"%d" % number for number in range(sent, sent + 50)])
                sent += 50
                await asyncio.sleep(0)
                assert listener._bytes <= 64 * 1024
            full = False
            await until(lambda: listener._bytes == 0)
            # What came faster than the loop looked was dropped by the kernel.
            await until(lambda: metrics.events["toy"] + metrics.dropped.total() == sent)
            assert len(await door.rows("logs")) == metrics.events["toy"] > 0

    uvloop.run(run())


@pytest.mark.parametrize("loop", [uvloop.run, asyncio.run])
def test_what_the_kernel_drops_is_counted_where_its_buffer_is_too_small(
    tmp_path: Path, loop: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, ("udp",)) as door:
            door.parts.lake.create("logs")
            metrics, bound = door.parts.metrics, door.listeners._datagrams[0][0].socket
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

            def is_counted(sent: int) -> bool:
                return metrics.events["toy"] + metrics.dropped["toy", "receive_buffer_full"] == sent

            for sent in (300, 600):
                door.send_datagrams(*[b"%d" % number for number in range(300)])  # at once, before the loop reads any
                await until(partial(is_counted, sent))
            assert len(await door.rows("logs")) == metrics.events["toy"] > 0
            assert metrics.dropped["toy", "receive_buffer_full"] > 500
            assert set(metrics.dropped) == {("toy", "receive_buffer_full")}

    loop(run())


def test_a_heartbeat_is_sent_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, ("udp",)) as door:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect((HOST, door.ports["udp"]))
                client.send(b"\0")
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 10), 30) == b"\0"

    asyncio.run(run())


def test_a_stop_stores_the_datagrams_that_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tailrace.server.streams.datagrams.GATHER_S", 0.3)

    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, ("udp",)) as door:
            door.parts.lake.create("logs")
            door.send_datagrams(*[b"%d" % number for number in range(100)])
            await until(lambda: len(door.listeners._datagrams[0][1]._queue) > 0)
            queued = len(door.listeners._datagrams[0][1]._queue)
            await door.listeners.stop(30)
            assert len(await door.rows("logs")) >= queued

    uvloop.run(run())
