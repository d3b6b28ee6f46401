"""A query process, in the process of the test."""

import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tailrace.lake import table_root
from tailrace.query.engines import worker
from tailrace.query.engines.channel import ProcessSetup
from tailrace.query.engines.shared_memory import SharedMemory
from tailrace.query.settings import QueryLimits, ReferenceFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="query processes are for Linux")


def test_a_server_that_ends_while_a_process_starts_ends_it_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_confine", lambda more_bytes: None)  # it would confine the tests
    server, process = socket.socketpair()
    server.close()
    setup = ProcessSetup(table_root(tmp_path), str(tmp_path / "temporary"), QueryLimits(), ReferenceFiles())
    with closing(SharedMemory()) as shared, process:
        worker.work(process, shared.descriptor, setup)
