"""Servers forked from a process that has imported them: a start takes a quarter of the CPU time of a program's.

What runs is the command line's `main`, with arguments, variables, output and signals of its own.
"""

import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tailrace.cli.serve", "tailrace.server.serve", "typer._adapters"])
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command line sets it, for the process that imports them


class Forked:
    """A process of `tailrace ARGUMENTS`, with those parts of `subprocess.Popen` that tests use."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], errors: Path) -> None:
        """Start it: without input, with the pipe `stdout`, and with its error output at the end of a file."""
        reader, writer = _CONTEXT.Pipe(duplex=False)
        with reader, writer:
            self._process = _CONTEXT.Process(
                target=_run, args=(list(arguments), dict(environment), writer, errors), daemon=True
            )
            self._process.start()
            self.stdout: TextIO | None = os.fdopen(os.dup(reader.fileno()))
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raise subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("tailrace", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], environment: dict[str, str], output: Connection, errors: Path) -> None:
    from tailrace.cli import main

    os.environ.clear()
    os.environ.update(environment)
    with open(os.devnull, "rb") as nothing, errors.open("ab") as log:
        for number, descriptor in enumerate((nothing.fileno(), output.fileno(), log.fileno())):
            os.dup2(descriptor, number)
    output.close()
    faulthandler.enable()
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.argv = ["tailrace", *arguments]
    main()
