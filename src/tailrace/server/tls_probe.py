"""`python -m tailrace.server.tls_probe CERTIFICATE KEY`: serve with a certificate once, and print what it is for."""

import asyncio
import json
import socket
import ssl
import sys
from pathlib import Path

from tailrace.server.asgi import Receive, Scope, Send
from tailrace.server.http import HttpServer

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: one that is over is no reason not to serve
PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN: the issuer need not be there


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: the handshake is all that is asked for."""


async def _probe(certificate: Path, key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = HttpServer(_nothing, listener, backlog=1, connections=1, files=(certificate, key))
        serving = asyncio.create_task(server.serve())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(certificate)
        context.verify_flags |= NO_CHECK_TIME | PARTIAL_CHAIN
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        found = writer.get_extra_info("peercert")
        print(
            json.dumps(
                {
                    "names": [value for _, value in found.get("subjectAltName", ())],
                    "not_after_s": ssl.cert_time_to_seconds(found["notAfter"]),
                }
            )
        )
        writer.close()
        server.stop()
        await serving


if __name__ == "__main__":
    asyncio.run(_probe(Path(sys.argv[1]), Path(sys.argv[2])))
