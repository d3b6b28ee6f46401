"""Command lines run in the tests' own process: what a user's shell would get, without a start of Python for each."""

import os
import sys
from collections.abc import Mapping
from unittest import mock

import msgspec
from typer.testing import CliRunner

from tailrace.cli import main


class Ran(msgspec.Struct, frozen=True):
    """What a command line left: exit code, and what it wrote."""

    returncode: int
    output: bytes
    errors: bytes

    @property
    def stdout(self) -> str:
        """What it wrote, as text."""
        return self.output.decode()

    @property
    def stderr(self) -> str:
        """What it said beside it."""
        return self.errors.decode()


def tailrace(*arguments: str, stdin: bytes | str = b"", env: Mapping[str, str] | None = None) -> Ran:
    """Run `tailrace ARGUMENTS` with these variables beside the shell's, whose own settings of Tailrace are left out.

    What the command does not end by itself (an exception) goes on to the test.
    """
    absent: dict[str, str | None] = {name: None for name in os.environ if name.startswith("TAILRACE_")}
    arguments_of_process = mock.patch.object(sys, "argv", ["tailrace", *arguments])
    code = 0
    with CliRunner().isolation(stdin, {**absent, "COLUMNS": "200", **(env or {})}) as streams, arguments_of_process:
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
        return Ran(code, streams[0].getvalue(), streams[1].getvalue())
