"""Connections to a door: acknowledged once durable, bounded in number, time and memory, whole at the end."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
import uvloop
from protocols.toy_stream import TOY_STREAM
from support.ingest import ROOT_TOKEN
from support.streams import HOST, OpenDoor, open_door, until

from tailrace.events import Overloaded
from tailrace.protocols.stream import StreamOptions
from tailrace.server.streams import connections
from tailrace.server.streams.settings import StreamLimits

OPTIONS = StreamOptions(dataset="logs", token=ROOT_TOKEN)
MIB = 1024 * 1024


class Client:
    """A connection to a door that is open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, door: OpenDoor) -> "Client":
        return cls(*await asyncio.open_connection(HOST, door.ports["tcp"]))

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 30)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 30)


async def lines(door: OpenDoor, dataset: str = "logs") -> list[Any]:
    return [row["line"] for row in await door.rows(dataset)]


def reasons(door: OpenDoor) -> list[str]:
    return [refusal.reason for refusal in door.refusals]


def test_what_is_answered_is_stored_and_the_end_stores_what_is_left(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            assert await client.line() == b"lines\n"
            client.writer.write(b"a\nb\n")
            assert await client.line() == b"ok\n"
            assert await lines(door) == ["a", "b"]
            client.writer.write(b"c\nd")
            client.writer.write_eof()
            assert set((await client.rest()).split()) == {b"ok"}
            assert await lines(door) == ["a", "b", "c", "d"]
            assert door.refusals == []
            assert door.parts.metrics.events == {"toy": 4}

    uvloop.run(run())


def test_a_refused_event_costs_no_other_and_is_counted_and_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.writer.write(b"a\nbad\nother:x\ntoken:y\nb\n")
            assert await client.line() == b"lines\n"
            await until(lambda: len(door.refusals) == 1)
            client.writer.write(b"c\n")
            assert await client.line() == b"ok\n"  # for the second piece only: of the first not all is stored
            assert await lines(door) == ["a", "b", "c"]
            assert door.parts.metrics.rejections == {
                ("toy", "tcp", "invalid_event"): 1,
                ("toy", "tcp", "dataset_not_found"): 1,
                ("toy", "tcp", "unauthorized"): 1,
            }
            [refusal] = door.refusals
            assert (refusal.method, refusal.protocol, refusal.address, refusal.events) == ("TCP", "toy", HOST, 3)
            client.writer.close()

    uvloop.run(run())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (StreamOptions(dataset="logs"), "unauthorized"),
        (StreamOptions(dataset="logs", token="no-such"), "unauthorized"),
        (StreamOptions(dataset="none", token=ROOT_TOKEN), "dataset_not_found"),
        (StreamOptions(token=ROOT_TOKEN), "bad_request"),
    ],
)
def test_a_connection_of_which_nothing_can_be_stored_is_ended(
    tmp_path: Path, options: StreamOptions, reason: str
) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, options) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.writer.write(b"a\n")
            assert await client.rest() == b"lines\n"
            assert reasons(door) == [reason]
            assert await lines(door) == []

    uvloop.run(run())


def test_rubbish_ends_a_connection_after_what_came_before_it_is_stored(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.writer.write(b"a\nrubbish\nb\n")
            assert (await client.rest()).split() == [b"lines", b"ok"]
            assert await lines(door) == ["a"]
            assert [(refusal.reason, refusal.message) for refusal in door.refusals] == [
                ("bad_request", "this is rubbish")
            ]
            await until(lambda: door.listeners.connections() == {("toy", "tcp"): 0})

    uvloop.run(run())


def test_surplus_connections_are_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, limits=StreamLimits(max_connections=2)) as door:
            first, second = await Client.connect(door), await Client.connect(door)
            assert await first.line() == await second.line() == b"lines\n"
            surplus = await Client.connect(door)
            with contextlib.suppress(ConnectionResetError):
                assert await surplus.rest() == b""
            assert reasons(door) == ["overloaded"]
            for client in (first, second):
                client.writer.close()

    uvloop.run(run())


def test_silent_and_slow_connections_are_ended(tmp_path: Path) -> None:
    async def run() -> None:
        limits = StreamLimits(idle_timeout_s=0.15)
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, limits=limits, frame_timeout_s=0.1) as door:
            door.parts.lake.create("logs")
            silent, slow = await Client.connect(door), await Client.connect(door)
            assert await silent.line() == await slow.line() == b"lines\n"
            slow.writer.write(b"x")
            for _ in range(3):
                await asyncio.sleep(0.03)
                slow.writer.write(b"x")
            with contextlib.suppress(ConnectionResetError):  # where more came after the end
                assert await slow.rest() == b""
            assert await silent.rest() == b""
            assert sorted(reasons(door)) == ["body_timeout", "body_timeout"]
            assert await lines(door) == []

    uvloop.run(run())


def test_no_more_is_read_than_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READ_BYTES", 1000)

    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, limits=StreamLimits(backlog_bytes=MIB)) as door:
            door.parts.lake.create("logs")
            backlog = door.listeners._connections[0][1].backlog
            check, full = door.parts.service._check_backlog, True

            def refuse() -> None:
                if full:
                    raise Overloaded("too much", retry_after_s=1)
                check()

            monkeypatch.setattr(door.parts.service, "_check_backlog", refuse)
            monkeypatch.setattr("tailrace.server.streams.store.RETRY_AFTER_S", 0.02)
            clients = [await Client.connect(door) for _ in range(3)]
            sent = [f"{number}-{'x' * 90}" for number in range(6_000)]
            for number, client in enumerate(clients):
                client.writer.write("".join(f"{line}\n" for line in sent[number::3]).encode())
                client.writer.write_eof()
            await until(lambda: door.parts.metrics.refusals.total() > 6)
            assert 0 < backlog.bytes < 2 * MIB
            assert await lines(door) == []
            full = False
            for client in clients:
                assert (await client.rest()).startswith(b"lines\nok\n")
            assert sorted(await lines(door)) == sorted(sent)
            assert backlog.bytes == 0
            assert door.refusals == []

    uvloop.run(run())


def test_a_stop_stores_what_was_read(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.writer.write(b"a\nb")
            assert await client.line() == b"lines\n"
            await until(lambda: door.listeners._connections[0][1].backlog.bytes > 0)
            await door.listeners.stop(30)
            assert await client.rest() == b"ok\nok\n"
            assert await lines(door) == ["a", "b"]

    uvloop.run(run())


def test_a_stop_does_not_wait_for_ever_for_what_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.server.streams.store.RETRY_AFTER_S", 0.02)

    async def run() -> None:
        async with open_door(tmp_path, TOY_STREAM, OPTIONS) as door:
            door.parts.lake.create("logs")

            def refuse() -> None:
                raise Overloaded("too much", retry_after_s=1)

            monkeypatch.setattr(door.parts.service, "_check_backlog", refuse)
            client = await Client.connect(door)
            client.writer.write(b"a\n")
            await until(lambda: door.parts.metrics.refusals.total() > 1)
            await door.listeners.stop(0.05)
            assert await client.rest() == b"lines\n"
            assert reasons(door) == ["overloaded"]

    uvloop.run(run())
