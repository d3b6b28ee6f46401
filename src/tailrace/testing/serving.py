"""What the process of a server for tests runs; whoever forks it has imported all of the server with this module."""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from tailrace.config import ConfigError, load
from tailrace.server.serve import serve
from tailrace.server.settings import SCHEMA


def serve_given(setup: bytes, descriptors: Sequence[int]) -> None:
    """Serve with the settings by name, as JSON, until SIGTERM.

    The descriptors: a socket, which is open as long as this process and its own run; then what becomes standard output
    and standard error.
    """
    os.setsid()  # Ctrl-C is for those who run the tests, who then end the server
    _, output, errors = descriptors
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    try:
        settings, _ = load(None, json.loads(setup), {}, SCHEMA)
        serve(settings)
    except (ConfigError, SystemExit) as error:
        print(error, file=sys.stderr, flush=True)


def _end_with(channel: socket.socket) -> None:
    """Stop this process once the other end of a channel is closed, as by the end of the process that has it."""
    channel.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[2:]]
    watch = threading.Thread(target=_end_with, args=[socket.socket(fileno=given[0])], daemon=True, name="owner")
    watch.start()
    serve_given(sys.argv[1].encode(), given)
