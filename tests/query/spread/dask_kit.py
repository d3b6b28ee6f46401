"""A Dask scheduler in this process, and workers of it as processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster
from support.forked import Forked
from support.ports import free_ports
from support.waiting import wait_until

from tailrace.lake import table_root
from tailrace.query import QueryLimits
from tailrace.query.engines.spreader import SpreadUnavailable
from tailrace.query.spread.dask_spreader import DaskSpreader
from tailrace.query.spread.settings import SpreadSettings


class Workers:
    """Worker processes over the tables of a data directory, and a spreader that asks them."""

    def __init__(self, scheduler: str, data: Path, *options: str, environment: Mapping[str, str] = {}) -> None:
        self.scheduler = scheduler
        self.data = data
        self._options = options
        self._environment = {**os.environ, **environment}
        self.processes: list[Forked] = []
        settings = SpreadSettings(dask=scheduler, spread_bytes=0)
        self.spreader = DaskSpreader(settings, table_root(data / "lake"), QueryLimits())

    def start(self, count: int) -> None:
        """Start so many more, each with a place for one part, and wait until all are there."""
        options = ["--query-threads", "1", "--query-concurrency", "1", "--log-level", "error", *self._options]
        arguments = ["worker", "--dask", self.scheduler, "--data", str(self.data), *options]
        for _ in range(count):
            self.processes.append(Forked(arguments, self._environment, self.data / "worker.log"))
        wait_until(lambda: self.width() == len(self.processes), timeout_s=120)

    def width(self) -> int:
        try:
            return self.spreader.width()
        except SpreadUnavailable:
            return 0

    def tasks(self) -> list[str]:
        """Return the tasks that the scheduler knows."""
        with Client(self.scheduler, set_as_default=False) as client:
            known: list[str] = client.run_on_scheduler(lambda dask_scheduler: list(map(str, dask_scheduler.tasks)))
            return known

    def runs_buckets(self) -> bool:
        """Return whether a worker computes something of a bucket."""
        with Client(self.scheduler, set_as_default=False) as client:
            keys = [str(key) for keys in client.processing().values() for key in keys]
        return any(key.startswith("tailrace-bucket-") for key in keys)

    def end(self) -> None:
        self.spreader.close()
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(60)


@contextmanager
def scheduler_process() -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """Yield the address of a scheduler that is a process of its own, which may be killed, and that."""
    (port,) = free_ports(1)
    options = ["--host=127.0.0.1", f"--port={port}", "--no-dashboard"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"tcp://127.0.0.1:{port}", process
        finally:
            process.kill()


@contextmanager
def scheduler() -> Iterator[str]:
    """Yield the address of a scheduler."""
    with LocalCluster(n_workers=0, processes=True, dashboard_address=":0", host="127.0.0.1") as cluster:
        address: str = cluster.scheduler_address
        yield address
