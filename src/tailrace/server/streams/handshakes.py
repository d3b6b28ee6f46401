"""Accepts connections with TLS, of which each counts from before its handshake on."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from tailrace.events import TailraceError

TIMEOUT_S = 30.0  # for a handshake
PAUSE_S = 1.0  # where no connection can be accepted, as there are no descriptors

logger = logging.getLogger(__name__)


class HandshakeFailed(TailraceError):
    """A client and the server do not come to terms by TLS, as where it shows no certificate that is asked for."""

    status = 400
    code = "tls_handshake"


class TlsAcceptor:
    """Accepts the connections of one port. To be used on the event loop.

    asyncio's own server tells of a connection only once its handshake is done.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        new_connection: Callable[[], asyncio.Protocol],
        *,
        may_open: Callable[[str], bool],
        refuse: Callable[[TailraceError, str], None],
    ) -> None:
        """Ask `may_open` whether an address may have one more connection."""
        self._context = context
        self._new_connection = new_connection
        self._may_open = may_open
        self._refuse = refuse
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._handshakes)

    def start(self, listener: socket.socket) -> None:
        """Accept connections of a socket that does not block."""
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))

    def close(self) -> None:
        """Accept none any more, and end those whose handshake is under way."""
        if self._accepting is not None:
            self._accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listener)
            except OSError as error:
                logger.error("no connection by TLS can be accepted: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            address: str = peer[0]
            if not self._may_open(address):
                accepted.close()
                continue
            handshake = loop.create_task(self._shake_hands(accepted, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, address: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._new_connection, accepted, ssl=self._context, ssl_handshake_timeout=TIMEOUT_S
            )
        except ssl.SSLError as error:
            self._refuse(HandshakeFailed(f"no connection by TLS: {error.reason or error}"), address)
        except OSError as error:  # the client went away, or took too long
            logger.debug("no connection by TLS from %s: %s", address, error)
