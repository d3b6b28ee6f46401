"""A port for gRPC, with TLS whose certificate may change; each call on it becomes a request over HTTP.

The library is imported where a port is set only: it takes memory and time to start.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from tailrace.server.data_directory import refuse
from tailrace.server.tls import Certificate

MAX_STREAMS = 100  # calls under way on one connection
MAX_CALLS = 1000  # under way on all: of each that is not read yet the library holds as much as WINDOW_BYTES
WINDOW_BYTES = 64 * 1024  # that a client may send of a message before it is read
HANDSHAKE_TIMEOUT_MS = 30_000  # in which a connection has to begin with HTTP/2
KEEPALIVE_MS = 120_000  # of silence, after which a client is asked whether it is still there
KEEPALIVE_TIMEOUT_MS = 20_000  # for its answer
RETRY_AFTER_S = 1


class GrpcLimits(Struct, frozen=True):
    """Limits on connections and messages."""

    max_message_bytes: int  # once decompressed
    backlog_bytes: int  # of messages that are being read
    max_connections: int
    idle_timeout_s: float  # after which a connection without a call is ended


class GrpcPort:
    """Listens once it is made, and serves once it is started; nothing of both without a port."""

    def __init__(
        self, name: str, setting: str, host: str, port: int, limits: GrpcLimits, certificate: Certificate | None
    ) -> None:
        """Listen, for TLS with a certificate; raise SystemExit where the port cannot be had, which a setting names.

        To be called on the event loop.
        """
        self._renewed: Certificate | None = None
        self._server: Any = None  # grpc.aio.Server
        self.scheme = "http" if certificate is None else "https"
        self.number = 0
        self._name = name
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not port:
            return
        import grpc  # type: ignore[import-untyped]

        self._server = grpc.aio.server(options=_options(limits))
        try:
            self.number = (
                self._server.add_insecure_port(self._address)
                if certificate is None
                else self._server.add_secure_port(self._address, self._credentials(certificate))
            )
        except RuntimeError as error:
            refuse(f"cannot listen for {name} on {host} port {port}: {error}; give another by {setting}")

    def renew(self, certificate: Certificate) -> None:
        """Use another certificate for the connections from now on."""
        self._renewed = certificate

    def _credentials(self, certificate: Certificate) -> Any:
        """Return what the library asks for the certificate of each connection, in a thread of its own."""
        import grpc

        used = certificate

        def renewed() -> Any:
            nonlocal used
            if self._renewed is None or self._renewed == used:
                return None
            used = self._renewed
            return _configuration(used)

        return grpc.dynamic_ssl_server_credentials(_configuration(certificate), renewed)

    @property
    def shown(self) -> list[str]:
        """What is open, for people."""
        return [f"{self._name} {self._address}"] if self.number else []

    async def start(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        """Take calls: a handler of each method, by service."""
        import grpc

        handlers = [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
        self._server.add_generic_rpc_handlers(handlers)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and return once those under way are answered, or the time is over."""
        if self._server is not None:
            await self._server.stop(grace_s)


def code_of(number: int) -> Any:
    """Return a status of gRPC by its number, as the library has it."""
    import grpc

    return next(code for code in grpc.StatusCode if code.value[0] == number)


def address_of(peer: str) -> tuple[str, int]:
    """Return the address and the port of a peer as gRPC names it: `ipv4:127.0.0.1:5`, or `ipv6:%5B::1%5D:5`."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def _options(limits: GrpcLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        ("grpc.max_connection_idle_ms", int(limits.idle_timeout_s * 1000)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # A window that grows with the speed of the network would let a client send megabytes that nobody reads.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.so_reuseport", 0),  # a port that another server has is an error, not shared
    ]


def _configuration(certificate: Certificate) -> Any:
    import grpc

    return grpc.ssl_server_certificate_configuration(
        [(certificate.key.read_bytes(), certificate.certificate.read_bytes())]
    )
