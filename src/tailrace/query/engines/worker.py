"""A query process: DuckDB, which answers over a channel within a hard memory limit."""

import logging
import os
import resource
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tailrace.events import TailraceError
from tailrace.query.engines.channel import (
    AnswerQuery,
    AnswerStatement,
    BeginSession,
    Channel,
    Done,
    Failed,
    ProcessSetup,
    RegisterRows,
)
from tailrace.query.engines.duckdb import DuckDB
from tailrace.query.engines.engine import OutOfMemory
from tailrace.query.engines.interrupt import Interrupt
from tailrace.query.engines.shared_memory import SharedReader
from tailrace.query.functions import read_reference_data

SPARE_BYTES = 64 * 1024 * 1024  # in addition to the memory that DuckDB counts
FIRST_VICTIM = 900  # for the kernel's killer of processes where memory runs out, of -1000 to 1000

logger = logging.getLogger(__name__)


def start(setup: bytes, descriptors: Sequence[int]) -> None:
    """Do as `work` does, with a `ProcessSetup` as MessagePack, in a process that the spawner has forked."""
    connection, shared = descriptors
    work(socket.socket(fileno=connection), shared, msgspec.msgpack.decode(setup, type=ProcessSetup))


def work(connection: socket.socket, shared: int, setup: ProcessSetup) -> None:
    """Answer until the other end is closed."""
    channel = Channel(connection)
    reader = SharedReader(shared)
    reference_data = read_reference_data(setup.reference_files)
    engine = DuckDB(setup.tables, Path(setup.temporary), setup.limits, reference_data)
    _confine(setup.limits.memory_bytes + SPARE_BYTES)
    try:
        channel.send(Done())
    except OSError:
        return  # the server ended while this process started
    while True:
        try:
            message, _ = channel.receive()
        except (EOFError, OSError):
            return
        try:
            if isinstance(message, AnswerStatement):
                hot = {name: reader.get(rows) for name, rows in message.hot.items()}
                channel.send(Done(), engine.answer(message.statement, hot, Interrupt()))
            elif isinstance(message, BeginSession):
                _session(channel, reader, engine)
        except (EOFError, BrokenPipeError, ConnectionError):
            return
        except MemoryError:
            channel.send(_failed(OutOfMemory(setup.limits)))
        except TailraceError as error:
            channel.send(_failed(error))
        except Exception:
            logger.exception("a query failed")
            channel.send(Failed("", "internal error"))


def _session(channel: Channel, reader: SharedReader, engine: DuckDB) -> None:
    with engine.session() as session:
        channel.send(Done())
        while True:
            message, _ = channel.receive()
            if isinstance(message, RegisterRows):
                session.register(message.name, reader.get(message.rows))
            elif isinstance(message, AnswerQuery):
                channel.send(Done(), session.whole(message.text) if message.is_whole else session.table(message.text))
            else:
                return


def _failed(error: TailraceError) -> Failed:
    return Failed(type(error).__name__, error.message, error.retry_after_s)


def _confine(more_bytes: int) -> None:
    """Let the process take so much more memory of its own than it has now; mapped files do not count."""
    with open("/proc/self/statm") as file:
        data = int(file.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + more_bytes, data + more_bytes))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(FIRST_VICTIM))
    except OSError as error:
        logger.warning("process %d stays as dear to the kernel as the server: %s", os.getpid(), error)
