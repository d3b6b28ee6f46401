"""`run_server`: a server for as long as a block of code, or a fixture, runs."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tailrace.testing.process import CAN_FORK, ServerProcess
from tailrace.testing.server import TailraceServer, new_owner_token

ERRORS = "server.log"


@contextlib.contextmanager
def run_server(
    settings: Mapping[str, object] | None = None, *, data: Path | None = None, is_forked: bool = CAN_FORK
) -> Iterator[TailraceServer]:
    """Run a server on a free port of 127.0.0.1 and yield it, empty; it ends with the block, or with this process.

    The settings are those of docs/settings.md by name. Its data are in a directory that is removed at the end, or in
    `data`, which stays. The first server of a process takes seconds; where it may fork (Linux) the others take a
    fraction of one, as they come from a process that stays. Raise ServerNotStarted, with what the server said.
    """
    with contextlib.ExitStack() as stack:
        directory = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tailrace-")))
        directory.mkdir(parents=True, exist_ok=True)
        token = new_owner_token()
        given = {"port": 0, "root_token": token, "log_level": "warning", **(settings or {}), "data": str(directory)}
        process = ServerProcess(given, directory / ERRORS, is_forked=is_forked)
        stack.callback(process.stop)
        server = TailraceServer(process.url, token)
        stack.callback(server.close)
        yield server
