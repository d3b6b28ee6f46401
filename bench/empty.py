"""The HTTP server with nothing behind it: every request is answered at once, its body unread."""

import asyncio
import signal
import socket

from tailrace.server.asgi import Message, Receive, Scope, Send
from tailrace.server.http import MAX_CONNECTIONS, HttpServer
from tailrace.server.listener import LISTEN_BACKLOG

BODY = b"{}"
START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))],
}
END: Message = {"type": "http.response.body", "body": BODY, "more_body": False}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with nothing."""
    await send(START)
    await send(END)


async def _serve() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(LISTEN_BACKLOG)
        port = listener.getsockname()[1]
        http = HttpServer(application, listener, backlog=LISTEN_BACKLOG, connections=MAX_CONNECTIONS)
        serving = asyncio.create_task(http.serve())
        print(port, flush=True)
        await stop.wait()
        http.stop()  # type: ignore[no-untyped-call]
        await serving


if __name__ == "__main__":
    asyncio.run(_serve())
