"""A Dask worker that runs parts of queries, within the limits of queries."""

import asyncio
import logging
import signal
from contextlib import suppress
from pathlib import Path

from distributed import Worker

from tailrace.lake.snapshot import TableRoot
from tailrace.query.engines.engine import Engine
from tailrace.query.spread.task import PartRunner, resource_name, use

AGAIN_AFTER_S = 2.0  # since the scheduler went away

logger = logging.getLogger(__name__)


def work(address: str, engine: Engine, tables: TableRoot, temporary: Path) -> None:
    """Run parts that a scheduler gives until SIGTERM or SIGINT; wait for the scheduler where it does not answer."""
    logging.getLogger("distributed").setLevel(logging.WARNING)  # which tells each of its steps
    use(PartRunner(engine, tables))
    try:
        asyncio.run(_work(address, engine.limits.concurrency, temporary))
    finally:
        use(None)


async def _work(address: str, threads: int, temporary: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    stopped = asyncio.ensure_future(stopping.wait())
    while not stopping.is_set():
        # Dask waits by itself for a scheduler that does not answer.
        worker = Worker(
            address,
            nthreads=threads,
            resources={resource_name(): threads},
            local_directory=str(temporary),
            dashboard=False,
        )
        running = asyncio.ensure_future(_until_closed(worker, address))
        await asyncio.wait((running, stopped), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await worker.close()
        await asyncio.wait((stopped,), timeout=AGAIN_AFTER_S)


async def _until_closed(worker: Worker, address: str) -> None:
    """Run a worker until its scheduler is gone."""
    try:
        await worker
        logger.info("a worker of %s, of the Dask scheduler %s", resource_name(), address)
        await worker.finished()
    except (OSError, TimeoutError) as error:
        logger.warning("the Dask scheduler %s does not answer: %s", address, error)
