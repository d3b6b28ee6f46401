"""Syslog over connections, TLS and datagrams: everything sent is read back, and what is refused is counted."""

import asyncio
import contextlib
import logging
import logging.handlers
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import uvloop
from support.ingest import ROOT_TOKEN
from support.streams import HOST, OpenDoor, open_door, until
from support.tls import needs_openssl, self_signed

from tailrace.config import ConfigError
from tailrace.protocols.doors.syslog import DOOR, SyslogOptions
from tailrace.server.settings import SCHEMA
from tailrace.server.streams.settings import StreamLimits
from tailrace.server.streams.sockets import door_sockets, tls_context

OPTIONS = SyslogOptions(dataset="logs", token=ROOT_TOKEN)


async def messages(door: OpenDoor, dataset: str = "logs") -> list[Any]:
    return [row["message"] for row in await door.rows(dataset)]


def test_messages_of_a_connection_are_events(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            await door.send(
                b'<34>1 2003-10-11T22:14:15.003Z web su 12 ID47 [a@1 b="c\\"" d="\xc3\xbc"] root\n8 <13>a: b'
                b"caf\xe9\0<14>x: \x1b[1mbold\0\n" + b"<14>" + b"y" * 70_000
            )
            first, counted, latin, bold, long = await door.rows("logs")
            assert first == {
                "priority": 34,
                "facility": "auth",
                "severity": "critical",
                "hostname": "web",
                "app_name": "su",
                "proc_id": "12",
                "msg_id": "ID47",
                "structured_data.a@1.b": 'c"',
                "structured_data.a@1.d": "ü",
                "message": "root",
                "remote_addr": HOST,
            }
            assert (counted["app_name"], counted["message"]) == ("a", "b")
            assert latin == {"message": "caf\ufffd", "remote_addr": HOST}
            assert bold["message"] == "\x1b[1mbold"
            assert long["truncated"] is True
            assert long["message"] == "y" * (64 * 1024 - 4)
            assert door.refusals == []
            times = await asyncio.to_thread(door.parts.rows, "logs")
            assert len(times) == 5

    uvloop.run(run())


def test_a_token_in_the_structured_data_decides_and_is_not_stored(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, SyslogOptions()) as door:
            for name in ("logs", "other"):
                door.parts.lake.create(name)
            own = f'<13>1 - h a - - [tailrace@32473 token="{ROOT_TOKEN}" dataset="%s"]%s hello'
            for line in (own % ("logs", ""), own % ("other", '[x y="z"]'), own % ("none", ""), "<13>1 - h a - - - no"):
                await door.send(line.encode())
            assert await messages(door) == ["hello"]
            [row] = await door.rows("other")
            assert row["structured_data.x.y"] == "z"
            assert not [name for name in row if "tailrace" in name]
            assert [refusal.reason for refusal in door.refusals] == ["dataset_not_found", "unauthorized"]
            assert ROOT_TOKEN not in str(await door.rows("logs"))

    uvloop.run(run())


def test_each_datagram_is_a_message(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS, ("udp", "tcp")) as door:
            door.parts.lake.create("logs")
            door.send_datagrams(b"<13>Oct 11 22:14:15 h app: two\nlines\n", b"\n", b"12 <13>no: count")
            await until(lambda: door.parts.metrics.events["syslog"] == 2)
            assert await messages(door) == ["two\nlines", "12 <13>no: count"]

    uvloop.run(run())


def test_what_speaks_another_protocol_is_ended_with_a_reason(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS) as door:
            door.parts.lake.create("logs")
            await door.send(b"<13>before: x\n12 <13>")
            await door.send(b"\x16\x03\x01\x00\xff")
            await until(lambda: len(door.refusals) == 2)
            assert [refusal.message for refusal in door.refusals] == [
                "the connection ended after 4 of the 12 bytes of a message",
                "TLS is spoken on a port without it",
            ]
            assert await messages(door) == ["x"]

    uvloop.run(run())


def test_pythons_handler_sends_by_tcp_and_udp(tmp_path: Path) -> None:
    def emit(port: int, kind: socket.SocketKind) -> None:
        handler = logging.handlers.SysLogHandler((HOST, port), "local3", kind)
        handler.ident = "app: "
        for text in ("started", "Traceback\n  line 1\n  line 2", "grüße"):
            handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, text, (), None))
        handler.close()

    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS, ("udp", "tcp")) as door:
            door.parts.lake.create("logs")
            await asyncio.to_thread(emit, door.ports["udp"], socket.SOCK_DGRAM)
            await until(lambda: door.parts.metrics.events["syslog"] == 3)
            await asyncio.to_thread(emit, door.ports["tcp"], socket.SOCK_STREAM)
            await until(lambda: door.parts.metrics.events["syslog"] == 6)
            rows = await door.rows("logs")
            assert [row["message"] for row in rows] == ["started", "Traceback\n  line 1\n  line 2", "grüße"] * 2
            assert {(row["facility"], row["severity"], row["app_name"]) for row in rows} == {
                ("local3", "warning", "app")
            }

    uvloop.run(run())


@needs_openssl
def test_tls_may_ask_for_the_certificate_of_the_client(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "sender.test")
    server = tls_context(
        StreamLimits(tls_certificate=str(certificate), tls_key=str(key), tls_client_ca=str(certificate))
    )
    trusting = ssl.create_default_context(cafile=str(certificate))
    showing = ssl.create_default_context(cafile=str(certificate))
    showing.load_cert_chain(certificate, key)

    async def run() -> None:
        async with open_door(tmp_path, DOOR, OPTIONS, ("tls",), tls=server) as door:
            door.parts.lake.create("logs")
            _, writer = await asyncio.open_connection(
                HOST, door.ports["tls"], ssl=showing, server_hostname="sender.test"
            )
            writer.write(b"29 <13>1 - h app - - - encrypted")
            writer.close()
            await until(lambda: door.parts.metrics.events["syslog"] == 1)
            [row] = await door.rows("logs")
            assert (row["message"], row["tls_client"]) == ("encrypted", "sender.test")
            reader, writer = await asyncio.open_connection(
                HOST, door.ports["tls"], ssl=trusting, server_hostname="sender.test"
            )
            writer.write(b"<13>x\n")
            with contextlib.suppress(OSError):  # the alert of TLS, or a reset
                assert await reader.read() == b""
            writer.close()
            assert len(await door.rows("logs")) == 1

    uvloop.run(run())


def test_settings_that_are_not_enough_stop_the_start(tmp_path: Path) -> None:
    for values, reason in (
        ({"syslog_tls_port": 6514}, "setting stream_tls_certificate: a door for TLS needs a certificate"),
        (
            {"syslog_tls_port": 6514, "stream_tls_certificate": str(tmp_path / "none.pem")},
            "setting stream_tls_certificate or stream_tls_key: the files cannot be used",
        ),
        (
            {"syslog_tcp_port": 6514, "syslog_time_zone": "Mars/Phobos"},
            "setting syslog_time_zone: there is no time zone 'Mars/Phobos'",
        ),
        ({"syslog_tcp_port": 6514, "syslog_time_zone": "../x"}, "setting syslog_time_zone: '../x' is no time zone"),
    ):
        with pytest.raises(ConfigError, match=reason):
            door_sockets((DOOR,), SCHEMA.build(values)).__enter__()


def test_a_port_that_is_taken_stops_the_start() -> None:
    for transport, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind((HOST, 0))
            if transport == "tcp":
                taken.listen()
            port = taken.getsockname()[1]
            settings = SCHEMA.build({f"syslog_{transport}_port": port})
            with pytest.raises(SystemExit, match=f"port {port}: .*; choose another syslog_{transport}_port"):
                door_sockets((DOOR,), settings).__enter__()
