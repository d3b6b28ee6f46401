"""The sockets of the doors that are no HTTP, open before anything else is, so that a port in use stops the start."""

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from tailrace.config import ConfigError
from tailrace.protocols.stream import StreamDoor, StreamOptions
from tailrace.server.listener import LISTEN_BACKLOG, bound
from tailrace.server.settings import Settings
from tailrace.server.streams.settings import StreamLimits

Transport = Literal["tcp", "tls", "udp"]

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024  # of the kernel for a port's datagrams, as far as it allows


class DoorSocket(Struct, frozen=True, eq=False):
    """An open door: a socket that is bound, and listens where it takes connections."""

    door: StreamDoor
    options: StreamOptions
    transport: Transport
    socket: socket.socket
    tls: ssl.SSLContext | None = None

    @property
    def shown(self) -> str:
        """What is open, for people."""
        host, port = self.socket.getsockname()[:2]
        return f"{self.door.name} {self.transport} {host}:{port}"


def configured_ports(doors: Sequence[StreamDoor], settings: Settings) -> Iterator[tuple[StreamDoor, Transport, int]]:
    """Yield the ports that the settings open, each with its door and transport."""
    for door in doors:
        options: StreamOptions = settings.doors[door.name]
        ports: tuple[tuple[Transport, int], ...] = (
            ("tcp", options.tcp_port),
            ("tls", options.tls_port),
            ("udp", options.udp_port),
        )
        yield from ((door, transport, port) for transport, port in ports if port)


@contextlib.contextmanager
def door_sockets(doors: Sequence[StreamDoor], settings: Settings) -> Iterator[list[DoorSocket]]:
    """Open the sockets of the doors that the settings open.

    Raise SystemExit where a port cannot be had, ConfigError where the settings of a door are not enough.
    """
    ports = list(configured_ports(doors, settings))
    for door, _, _ in ports:
        if fault := door.check(settings.doors[door.name]):
            raise ConfigError(fault)
    tls = tls_context(settings.streams) if any(transport == "tls" for _, transport, _ in ports) else None
    host = settings.streams.host or settings.server.host
    with contextlib.ExitStack() as stack:
        opened = []
        for door, transport, port in ports:
            kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
            name = f"{door.name}_{transport}_port"
            one = stack.enter_context(bound(host, port, kind, f"choose another {name}, or leave that door closed"))
            if kind == socket.SOCK_DGRAM:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            else:
                one.listen(LISTEN_BACKLOG)
            one.setblocking(False)
            opened.append(
                DoorSocket(door, settings.doors[door.name], transport, one, tls if transport == "tls" else None)
            )
        yield opened


def tls_context(limits: StreamLimits) -> ssl.SSLContext:
    """Return the context of the doors for TLS; raise ConfigError where its files cannot be used."""
    if not limits.tls_certificate:
        raise ConfigError("setting stream_tls_certificate: a door for TLS needs a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(limits.tls_certificate, limits.tls_key or None)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        names = "stream_tls_certificate or stream_tls_key"
        raise ConfigError(f"setting {names}: the files cannot be used: {error}") from None
    if limits.tls_client_ca:
        try:
            context.load_verify_locations(limits.tls_client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(f"setting stream_tls_client_ca: the file cannot be used: {error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
