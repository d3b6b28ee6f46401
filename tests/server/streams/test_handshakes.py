"""Connections with TLS count from before their handshake on, and why one fails is told."""

import asyncio
import ssl
from pathlib import Path

import uvloop
from protocols.toy_stream import TOY_STREAM
from support.ingest import ROOT_TOKEN
from support.streams import HOST, open_door, until
from support.tls import needs_openssl, self_signed

from tailrace.protocols.stream import StreamOptions
from tailrace.server.streams.settings import StreamLimits
from tailrace.server.streams.sockets import tls_context

OPTIONS = StreamOptions(dataset="logs", token=ROOT_TOKEN)


@needs_openssl
def test_a_connection_counts_before_its_handshake_is_done(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "sender.test")
    limits = StreamLimits(max_connections=1, tls_certificate=str(certificate), tls_key=str(key))
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def run() -> None:
        tls = tls_context(limits)
        async with open_door(tmp_path, TOY_STREAM, OPTIONS, ("tls",), limits=limits, tls=tls) as door:
            door.parts.lake.create("logs")
            silent, held = await asyncio.open_connection(HOST, door.ports["tls"])
            await until(lambda: sum(door.listeners.connections().values()) == 1)
            surplus, _ = await asyncio.open_connection(HOST, door.ports["tls"])
            assert await surplus.read() == b""
            held.write(b"no TLS at all\r\n\r\n")
            await silent.read()
            await until(lambda: sum(door.listeners.connections().values()) == 0)
            assert [refusal.reason for refusal in door.refusals] == ["overloaded", "tls_handshake"]

            reader, writer = await asyncio.open_connection(
                HOST, door.ports["tls"], ssl=trusting, server_hostname="sender.test"
            )
            assert await reader.readline() == b"lines\n"
            writer.write(b"a\n")
            assert await reader.readline() == b"ok\n"
            assert sum(door.listeners.connections().values()) == 1
            writer.close()
            await until(lambda: sum(door.listeners.connections().values()) == 0)
            assert [row["line"] for row in await door.rows("logs")] == ["a"]
            _, unfinished = await asyncio.open_connection(HOST, door.ports["tls"])
            await until(lambda: sum(door.listeners.connections().values()) == 1)
        unfinished.close()

    uvloop.run(run())
