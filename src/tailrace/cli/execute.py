"""`tailrace exec`: a command beside a server of its own, as the tests of a project in any language."""

import os
import shutil
import signal
import subprocess
from typing import Annotated

import typer

from tailrace.cli.errors import FAILED, CommandError, reason_of

NOT_FOUND = 127  # as a shell has it
SIGNALLED = 128  # to which a shell adds the number of the signal


def execute(
    command: Annotated[
        list[str], typer.Argument(help="The command and its arguments, after `--`.", metavar="COMMAND…")
    ],
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="Dataset that clients send to, which is created.")
    ] = "test",
    destination: Annotated[
        str, typer.Option("--destination", metavar="NAME", help="The same for Datamix: system.application.environment.")
    ] = "test.tailrace.test",
) -> None:
    """Run a command with an empty server of its own, which is gone when the command ends; exit with its exit code.

    Variables tell clients where to send: AXIOM_URL and AXIOM_TOKEN, BASELIME_URL and BASELIME_API_KEY, DATAMIX_URL and
    DATAMIX_KEY, MOESIF_BASE_URI and MOESIF_APPLICATION_ID, OTEL_EXPORTER_OTLP_…; TAILRACE_URL and TAILRACE_TOKEN for
    this command line.

    Example: tailrace exec --dataset shop -- npm test
    """
    # Imported late, for a fast --help of all commands.
    from tailrace.testing import CLIENTS, ServerNotStarted, run_server

    if shutil.which(command[0]) is None:
        raise CommandError(f"{command[0]}: no such command", NOT_FOUND)
    try:
        with run_server() as server:
            variables = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.owner_token}
            for client in CLIENTS:
                variables |= server.environment(client, destination if client == "datamix" else dataset)
            code = _run(command, {**os.environ, **variables})
    except ServerNotStarted as error:
        raise CommandError(str(error)) from error
    except ValueError as error:  # of a name that no dataset may have
        raise CommandError(str(error), FAILED) from error
    raise typer.Exit(code)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run a command and return its exit code; a signal that ends this command ends that one first."""
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be run: {reason_of(error)}", NOT_FOUND) from error
    # Ctrl-C reaches the command too, which belongs to the same terminal; SIGTERM has to be passed on.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else SIGNALLED - code
