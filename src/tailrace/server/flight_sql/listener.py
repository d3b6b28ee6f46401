"""The listener for Flight SQL, on a port of its own."""

from tailrace.server.asgi import Application
from tailrace.server.grpc_listener import MessageReads
from tailrace.server.grpc_port import GrpcLimits, GrpcPort
from tailrace.server.tls import Certificate

MAX_MESSAGE_BYTES = 512 * 1024  # of a client: a statement and what is around it


class FlightSqlListener:
    """Listens once it is made, and serves once it is started; nothing of both without a port."""

    def __init__(self, host: str, port: int, limits: GrpcLimits, certificate: Certificate | None = None) -> None:
        """Listen, for TLS with a certificate; raise SystemExit where the port cannot be had.

        To be called on the event loop.
        """
        self.port = GrpcPort("flight sql", "flight_sql_port", host, port, limits, certificate)
        self._limits = limits

    async def start(self, application: Application) -> None:
        """Take calls."""
        if not self.port.number:
            return
        from tailrace.server.flight_sql.service import SERVICE, FlightSqlService

        service = FlightSqlService(application, MessageReads(self._limits), self.port.scheme)
        await self.port.start({SERVICE: service.methods()})
