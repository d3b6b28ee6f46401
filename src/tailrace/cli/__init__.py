"""The command line: `tailrace serve`, `config`, and the commands that talk to a server over HTTP."""

import sys
from typing import Annotated

import typer

from tailrace import __version__
from tailrace.cli import datasets, doctor, ingest, keys, query, serve, tail, tokens, users
from tailrace.cli.errors import CommandError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tailrace",
    help="A self-hosted event server, and its client.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("config")(serve.show_config)
app.command("ingest")(ingest.ingest)
# What stands beside the options reaches the command, which then names the option that is missing.
app.command("query", context_settings={"allow_extra_args": True})(query.query)
app.command("tail")(tail.tail)
app.command("doctor")(doctor.doctor)
app.add_typer(datasets.app, name="dataset")
app.add_typer(tokens.app, name="token")
app.add_typer(keys.app, name="key")
app.add_typer(users.app, name="user")


def main() -> None:
    """Run the command line. Exit code 1: the command failed; 2: it was called the wrong way."""
    try:
        app(prog_name="tailrace")  # as it is called, however Python was; completion goes by it
    except CommandError as error:
        for line in str(error).splitlines():
            print(f"tailrace: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tailrace {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A self-hosted event server, and its client."""
