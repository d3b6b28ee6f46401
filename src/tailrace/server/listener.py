"""The listening socket of a server, and the URL at which it is reached."""

import contextlib
import socket
from collections.abc import Iterator

from tailrace.server.data_directory import refuse

LISTEN_BACKLOG = 1024


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Open a socket that listens on a host and a port; SystemExit where that cannot be."""
    advice = "give another by --host and --port (TAILRACE_HOST, TAILRACE_PORT)"
    with bound(host, port, socket.SOCK_STREAM, advice) as listener:
        try:
            listener.listen(LISTEN_BACKLOG)
        except OSError as error:
            refuse(f"cannot listen on {host} port {port}: {error.strerror}; {advice}")
        yield listener


@contextlib.contextmanager
def listening_alike(host: str, port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open so many sockets that listen on one host and port, among which the kernel spreads the connections.

    SystemExit where that cannot be, as where another server is there.
    """
    if count == 1:
        with listening(host, port) as listener:
            yield [listener]
        return
    # Sockets of this sort share a port with whoever opens more of the same; this one does not.
    with listening(host, port) as alone:
        port = alone.getsockname()[1]
    advice = "give another by --host and --port (TAILRACE_HOST, TAILRACE_PORT)"
    with contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(bound(host, port, socket.SOCK_STREAM, advice, is_shared=True)) for _ in range(count)
        ]
        for listener in listeners:
            listener.listen(LISTEN_BACKLOG)
        yield listeners


@contextlib.contextmanager
def bound(
    host: str, port: int, kind: socket.SocketKind, advice: str, *, is_shared: bool = False
) -> Iterator[socket.socket]:
    """Open a socket that is bound to a host and a port; SystemExit, with the advice, where that cannot be.

    Others of this user may be bound to the same where it `is_shared`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        refuse(f"the address {host} is not known: {error.strerror}")
    with socket.socket(family, kind, protocol) as opened:
        if kind == socket.SOCK_STREAM:
            # Without this a restart would be refused while connections of the last run linger.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            opened.bind(address)
        except OSError as error:
            refuse(f"cannot listen on {host} port {port}: {error.strerror}; {advice}")
        yield opened


def url_of(host: str, listener: socket.socket, *, is_tls: bool = False) -> str:
    """Return the URL of a listener on a host, from this machine."""
    scheme = "https" if is_tls else "http"
    port = listener.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{reachable}]:{port}" if ":" in reachable else f"{scheme}://{reachable}:{port}"
