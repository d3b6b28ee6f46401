"""The listeners for gRPC of a server, each on a port of its own."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from tailrace.protocols.doors import otlp
from tailrace.server.asgi import Application
from tailrace.server.flight_sql.listener import MAX_MESSAGE_BYTES, FlightSqlListener
from tailrace.server.grpc_listener import GrpcListener
from tailrace.server.grpc_port import GrpcLimits
from tailrace.server.settings import Settings
from tailrace.server.tls import Certificate


class GrpcListeners:
    """All of them. To be used on the event loop."""

    def __init__(self, listeners: Sequence[GrpcListener | FlightSqlListener]) -> None:
        self._listeners = listeners

    def renew(self, certificate: Certificate) -> None:
        """Use another certificate for the connections from now on."""
        for listener in self._listeners:
            listener.port.renew(certificate)

    @property
    def shown(self) -> list[str]:
        """What is open, for people."""
        return [line for listener in self._listeners for line in listener.port.shown]

    async def start(self, application: Application) -> None:
        """Take calls, which the application answers as requests over HTTP."""
        for listener in self._listeners:
            await listener.start(application)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and return once those under way are answered, or the time is over."""
        await asyncio.gather(*(listener.port.stop(grace_s) for listener in self._listeners))


def grpc_listeners(settings: Settings, most: int, certificate: Certificate | None) -> GrpcListeners:
    """Listen on the ports of the settings, of which each takes so many connections at most; raise SystemExit.

    To be called on the event loop.
    """
    options: otlp.OtlpOptions = settings.protocols[otlp.PROTOCOL.name]
    limits = GrpcLimits(
        max_message_bytes=min(options.grpc_max_message_bytes, settings.parsing.max_body_bytes),
        backlog_bytes=settings.request_body.receive_backlog_bytes,
        max_connections=most,
        idle_timeout_s=settings.streams.idle_timeout_s,
    )
    of_statements = replace(limits, max_message_bytes=MAX_MESSAGE_BYTES)
    host = settings.server.host
    return GrpcListeners(
        [
            GrpcListener(host, options.grpc_port, limits, certificate),
            FlightSqlListener(host, settings.flight_sql.port, of_statements, certificate),
        ]
    )


def grpc_ports(settings: Settings) -> int:
    """Return how many ports there are."""
    options: otlp.OtlpOptions = settings.protocols[otlp.PROTOCOL.name]
    return bool(options.grpc_port) + bool(settings.flight_sql.port)
