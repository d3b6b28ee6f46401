"""`python -m bench.empty [asgi|rsgi]`: the HTTP server with nothing behind it but the reading of a request's body."""

import asyncio
import signal
import socket
import sys
from typing import Any

import uvloop
from granian.constants import Interfaces

from tailrace.server.asgi import Message, Receive, Scope, Send
from tailrace.server.http import MAX_CONNECTIONS, HttpServer
from tailrace.server.listener import LISTEN_BACKLOG

BODY = b"{}"
HEADERS = [("content-type", "application/json"), ("content-length", str(len(BODY)))]
START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name.encode(), value.encode()) for name, value in HEADERS],
}
END: Message = {"type": "http.response.body", "body": BODY, "more_body": False}


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with nothing, by ASGI."""
    await receive()
    await send(START)
    await send(END)


async def rsgi(scope: Any, protocol: Any) -> None:
    """Answer with nothing, by RSGI."""
    await protocol()
    protocol.response_bytes(200, HEADERS, BODY)


async def _serve(handler: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(LISTEN_BACKLOG)
        port = listener.getsockname()[1]
        application: Any = rsgi if handler == "rsgi" else asgi
        http = HttpServer(application, listener, backlog=LISTEN_BACKLOG, connections=MAX_CONNECTIONS)
        if handler == "rsgi":
            http.interface = Interfaces.RSGI
        serving = asyncio.create_task(http.serve())
        print(port, flush=True)
        await stop.wait()
        http.stop()
        await serving


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1] if len(sys.argv) > 1 else "asgi"))
