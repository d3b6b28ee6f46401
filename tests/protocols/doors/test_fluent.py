"""The Forward protocol: each mode of it is stored, acknowledged once durable, and not stored twice.

The messages are as the specification (version 1) has them, and as Fluentd and Fluent Bit send them by their sources:
fluentd/lib/fluent/plugin/out_forward.rb, fluent-bit/plugins/out_forward/forward.c.
"""

import asyncio
import gzip
import hashlib
import io
import struct
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop
import zstandard
from support.ingest import ROOT_TOKEN
from support.streams import HOST, OpenDoor, open_door, until

from tailrace.config import ConfigError
from tailrace.events import DatasetNotFound
from tailrace.parsing import Limits
from tailrace.protocols.doors.fluent import DOOR, FluentOptions, FluentSession, decoded_bytes
from tailrace.protocols.stream import StreamBatch
from tailrace.server.settings import SCHEMA
from tailrace.server.streams.sockets import door_sockets

OPTIONS = FluentOptions(dataset="logs", token=ROOT_TOKEN)
KEYED = FluentOptions(dataset="logs", token=ROOT_TOKEN, shared_key="secret", username="u", password="p")
SECOND = 1_767_323_045


def event_time(second: int, fraction_ns: int) -> msgpack.ExtType:
    return msgpack.ExtType(0, struct.pack(">II", second, fraction_ns))


def packed(*entries: Any) -> bytes:
    return b"".join(msgpack.packb(entry) for entry in entries)


class Client:
    """A client of the Forward protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.unpacker = msgpack.Unpacker()

    @classmethod
    async def connect(cls, door: OpenDoor) -> "Client":
        return cls(*await asyncio.open_connection(HOST, door.ports["tcp"]))

    def send(self, *messages: Any) -> None:
        self.writer.write(packed(*messages))

    async def answer(self) -> Any:
        """Return the next answer, None at the end of the connection."""
        while True:
            for value in self.unpacker:
                return value
            data = await asyncio.wait_for(self.reader.read(65536), 30)
            if not data:
                return None
            self.unpacker.feed(data)


async def stored(door: OpenDoor) -> list[dict[str, object]]:
    return sorted(await door.rows("logs"), key=lambda row: str(row["n"]))


def test_every_mode_is_stored_and_acknowledged(tmp_path: Path) -> None:
    messages: list[Any] = [
        ["app.a", SECOND, {"n": 1}],
        ["app.a", event_time(SECOND, 123456789), {"n": 2, "tag": "own"}, {"chunk": "c2"}],
        ["app.b", [[SECOND, {"n": 3}], [event_time(SECOND, 5), {"n": 4}]], {"chunk": "c3", "size": 2}],
        ["app.c", packed([SECOND, {"n": 5}], [SECOND, {"n": 6}]), {"chunk": "c5", "size": 2}],
        ["app.c", packed([SECOND, {"n": 7}]), None],
        [
            "app.d",
            gzip.compress(packed([SECOND, {"n": 8}])) + gzip.compress(packed([SECOND, {"n": 9}])),
            {"chunk": "c8", "compressed": "gzip", "size": 2},
        ],
        # Fluent Bit, since version 2.1, has metadata beside the time.
        ["app.e", packed([[event_time(SECOND, 0), {}], {"n": 91}], [[event_time(SECOND, 0), {"m": 1}], {"n": 92}])],
        ["app.e", [event_time(SECOND, 0), {}], {"n": 93}],
        None,
        ["app.f", [], {"chunk": "empty"}],
    ]

    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.send(*messages)
            assert [await client.answer() for _ in range(5)] == [
                {"ack": each} for each in ("c2", "c3", "c5", "c8", "empty")
            ]
            rows = await stored(door)
            assert [(row["n"], row["tag"]) for row in rows] == [
                (1, "app.a"),
                (2, "own"),
                (3, "app.b"),
                (4, "app.b"),
                (5, "app.c"),
                (6, "app.c"),
                (7, "app.c"),
                (8, "app.d"),
                (9, "app.d"),
                (91, "app.e"),
                (92, "app.e"),
                (93, "app.e"),
            ]
            assert rows[1]["fluent_tag"] == "app.a"
            assert [row.get("fluent_metadata.m") for row in rows[9:]] == [None, 1, None]
            assert door.refusals == []
            client.writer.close()

    uvloop.run(run())


def test_values_and_times_are_as_they_were_sent(tmp_path: Path) -> None:
    record = {
        "n": 1,
        "big": 2**63 - 1,
        "huge": 2**64 - 1,
        "low": -(2**63),
        "real": 0.1,
        "nested": {"list": [1, "a", None, {"x": True}]},
        "bytes": b"text",
        "binary": b"\xff\x00",
        "umlaut": "ü",
        "ext": msgpack.ExtType(5, b"ab"),
        "at": msgpack.Timestamp(SECOND, 999_999_999),
        "none": float("nan"),
        "endless": [float("inf"), -float("inf")],
        "_time": "noon",
    }

    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            broken = msgpack.packb(["t", SECOND, {"n": 2, "m": "caf#"}]).replace(b"#", b"\xe9")
            client.writer.write(packed(["t", event_time(1, 999_999_999), record]) + broken)
            client.send(["t", 1, {"n": 3}], ["t", 1.5, {"n": 4}, {"chunk": "last"}])
            assert await client.answer() == {"ack": "last"}
            first, second, *_ = await stored(door)
            assert first == {
                "n": 1,
                "tag": "t",
                "big": 2**63 - 1,
                "_rest": {"huge": 2**64 - 1},
                "low": -(2**63),
                "real": 0.1,
                "nested.list": [1, "a", None, {"x": True}],
                "bytes": "text",
                "binary": "/wA=",
                "umlaut": "ü",
                "ext": "ab",
                "at": "2026-01-02T03:04:05.999999999Z",
                "none": "NaN",
                "endless": ["Infinity", "-Infinity"],
                "_user_time": "noon",
            }
            assert second == {"n": 2, "m": "caf\ufffd", "tag": "t"}
            client.writer.close()

    uvloop.run(run())


def test_a_bad_event_costs_no_other_and_a_chunk_that_is_none_ends_the_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.send(
                ["t", packed([SECOND, {"n": 1}], [SECOND, "x"], [None, {}], [SECOND, {"n": 2}]), {"chunk": "a"}]
            )
            assert await client.answer() == {"ack": "a"}
            client.send(["t", b"\x93\x01", {"chunk": "b"}])
            assert await client.answer() is None
            for message in (
                ["t", b"no gzip", {"compressed": "gzip"}],
                ["t", b"", {"compressed": "lz4"}],
                ["t", SECOND],
                ["t"],
                {"tag": "t"},
                ["t", SECOND, {}, "options"],
                ["PING", "", "", "", "", ""],
            ):
                other = await Client.connect(door)
                other.send(message)
                assert await other.answer() is None, message
            assert [row["n"] for row in await stored(door)] == [1, 2]
            assert [refusal.events for refusal in door.refusals] == [2, *[0] * 8]
            assert {refusal.reason for refusal in door.refusals} == {"bad_request"}

    uvloop.run(run())


def test_a_chunk_that_is_sent_again_is_acknowledged_and_not_stored_again(tmp_path: Path) -> None:
    message = ["t", [[SECOND, {"n": 1}], [SECOND, {"n": 2}]], {"chunk": "same"}]

    async def run(*, is_first: bool) -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            if is_first:
                door.parts.lake.create("logs")
            clients = [await Client.connect(door) for _ in range(3)]
            for client in clients:
                client.send(message, message)
            for client in clients:
                assert [await client.answer() for _ in range(2)] == [{"ack": "same"}] * 2
                client.writer.close()
            assert [row["n"] for row in await stored(door)] == [1, 2]

    uvloop.run(run(is_first=True))
    uvloop.run(run(is_first=False))


def test_a_chunk_is_of_its_tag(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.send(*([tag, SECOND, {"n": tag}, {"chunk": "c"}] for tag in "aba"))
            assert [await client.answer() for _ in range(3)] == [{"ack": "c"}] * 3
            assert [row["n"] for row in await stored(door)] == ["a", "b"]
            client.writer.close()

    uvloop.run(run())


def test_many_chunks_are_read_in_time_in_proportion_to_them() -> None:
    def cost_s(count: int) -> float:
        session = FluentSession(OPTIONS, Limits())
        frames = [packed(["", [], {"chunk": f"{number:x}"}]) for number in range(count)]
        batch = StreamBatch(Limits(), 0)
        began_s = time.process_time()
        session.read(frames, batch)
        assert batch.reply.count(b"ack") == count
        return time.process_time() - began_s

    assert min(cost_s(8000) for _ in range(2)) < 25 * min(cost_s(1000) for _ in range(3)) + 0.05


def test_what_a_chunk_may_decode_to_is_known_before_it_is_decoded() -> None:
    events = packed([SECOND, {"m": "a" * 1000}]) * 1000
    limits = Limits(max_body_bytes=10**7)
    plain = packed(["t", events, {"chunk": "c"}])
    assert decoded_bytes(limits, plain) == len(plain)
    for compression, compress in (("gzip", gzip.compress), ("zstd", zstandard.compress)):
        message = packed(["t", compress(events), {"chunk": "c", "compressed": compression}])
        assert len(message) < len(events) <= decoded_bytes(limits, message) <= limits.max_body_bytes


def test_what_is_not_stored_is_not_acknowledged_and_may_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            client = await Client.connect(door)
            message = ["t", [[SECOND, {"n": 1}]], {"chunk": "c"}]
            client.send(message)
            assert await client.answer() is None
            assert [refusal.reason for refusal in door.refusals] == [DatasetNotFound.code]
            door.parts.lake.create("logs")
            again = await Client.connect(door)
            again.send(message)
            assert await again.answer() == {"ack": "c"}
            assert len(await stored(door)) == 1
            again.writer.close()

    uvloop.run(run())


def ping(helo: list[Any], *, key: str = "secret", user: str = "u", password: str = "p") -> list[Any]:
    """Return the PING to a HELO, as the specification has it."""
    _, options = helo
    salt, name = b"0123456789abcdef", "client.test"
    digest = hashlib.sha512(salt + name.encode() + options["nonce"] + key.encode()).hexdigest()
    known = hashlib.sha512(options["auth"] + user.encode() + password.encode()).hexdigest()
    return ["PING", name, salt, digest, user, known]


def test_the_shared_key_and_the_user_are_asked_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, KEYED) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            helo = await client.answer()
            assert (helo[0], helo[1]["keepalive"]) == ("HELO", True)
            client.send(ping(helo))
            word, is_known, reason, name, digest = await client.answer()
            assert (word, is_known, reason) == ("PONG", True, "")
            assert (
                digest == hashlib.sha512(b"0123456789abcdef" + name.encode() + helo[1]["nonce"] + b"secret").hexdigest()
            )
            client.send(["t", SECOND, {"n": 1, "long": "x" * 100_000}, {"chunk": "c"}])
            assert await client.answer() == {"ack": "c"}
            for wrong, reason in (
                ({"key": "other"}, "shared_key mismatch"),
                ({"user": "v"}, "username/password mismatch"),
                ({"password": "q"}, "username/password mismatch"),
            ):
                other = await Client.connect(door)
                other.send(ping(await other.answer(), **wrong))
                assert (await other.answer())[:3] == ["PONG", False, reason]
                assert await other.answer() is None
            silent = await Client.connect(door)
            await silent.answer()
            silent.send(["t", SECOND, {"n": 2}])
            assert await silent.answer() is None
            assert [refusal.reason for refusal in door.refusals] == ["unauthorized"] * 4
            assert len(await stored(door)) == 1
            client.writer.close()

    uvloop.run(run())


def test_who_does_not_say_who_it_is_is_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, KEYED, frame_timeout_s=0.05) as door:
            silent = await Client.connect(door)
            await silent.answer()
            assert await silent.answer() is None
            large = await Client.connect(door)
            await large.answer()
            large.writer.write(b"\xc6\x00\x10\x00\x00")
            assert await large.answer() is None
            assert [refusal.reason for refusal in door.refusals] == ["body_timeout", "too_large"]

    uvloop.run(run())


def test_heartbeats_by_udp_are_answered(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS, ("udp",)) as door:
            door.send_datagrams(b"no heartbeat")
            await until(lambda: door.parts.metrics.dropped == {("fluent", "not_taken"): 1})

    uvloop.run(run())


def test_a_chunk_of_many_events_is_stored_whole(tmp_path: Path) -> None:
    chunk = io.BytesIO()
    for number in range(120_000):
        chunk.write(b"\x92\x00\x81\xa1n\xce" + struct.pack(">I", number))

    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            client = await Client.connect(door)
            client.send(["t", chunk.getvalue(), {"chunk": "many", "size": 120_000}])
            assert await client.answer() == {"ack": "many"}
            assert door.parts.metrics.events["fluent"] == 120_000
            client.writer.close()

    uvloop.run(run())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "setting fluent_token: the door"),
        ({"fluent_token": "xaat-1", "fluent_username": "u"}, "it needs fluent_password and fluent_shared_key"),
    ],
)
def test_settings_that_are_not_enough_stop_the_start(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        door_sockets((DOOR,), SCHEMA.build({"fluent_tcp_port": 24224, **values})).__enter__()
