"""The table of commands, and the application made of those that are called for."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from msgspec import Struct
from typer.core import TyperGroup

from tailrace import __version__


class Command(Struct, frozen=True):
    """Where a command, or a group of them, is."""

    module: str  # of tailrace.cli
    name: str
    is_group: bool = False
    has_settings: bool = False  # as flags
    takes_extra: bool = False  # what stands beside the options reaches the command, which then names what is missing


COMMANDS: Mapping[str, Command] = {
    "serve": Command("serve", "serve", has_settings=True),
    "config": Command("serve", "show_config", has_settings=True),
    "worker": Command("serve", "worker", has_settings=True),
    "ingest": Command("ingest", "ingest"),
    "query": Command("query", "query", takes_extra=True),
    "tail": Command("tail", "tail"),
    "doctor": Command("doctor", "doctor"),
    "backup": Command("backup", "backup"),
    "restore": Command("backup", "restore"),
    "export": Command("export", "export"),
    "import": Command("imports", "import_events"),
    "dataset": Command("datasets", "app", is_group=True),
    "token": Command("tokens", "app", is_group=True),
    "key": Command("keys", "app", is_group=True),
    "user": Command("users", "app", is_group=True),
    "monitor": Command("resources", "monitor", is_group=True),
    "notifier": Command("resources", "notifier", is_group=True),
    "dashboard": Command("resources", "dashboard", is_group=True),
    "vfield": Command("resources", "vfield", is_group=True),
    "view": Command("resources", "view", is_group=True),
    "annotation": Command("resources", "annotation", is_group=True),
    "saved-query": Command("resources", "saved_query", is_group=True),
    "audit": Command("audit", "audit"),
    "console": Command("console", "console"),
    "mcp": Command("agents", "mcp"),
    "demo": Command("demo", "demo"),
    "exec": Command("execute", "execute"),
}
COMPLETION_VARIABLE = "_TAILRACE_COMPLETE"


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """Return the application: with the one command that the arguments call, or with all where they call none."""
    app = typer.Typer(
        name="tailrace",
        cls=_Commands,
        help="A self-hosted event server, and its client.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback(help="A self-hosted event server, and its client.")(_options)
    called = next((each for each in arguments if not each.startswith("-")), "")
    completes = COMPLETION_VARIABLE in os.environ
    only = called in COMMANDS and not completes
    for name in [called] if only else COMMANDS:
        command = COMMANDS[name]
        found = getattr(import_module(f"tailrace.cli.{command.module}"), command.name)
        if command.has_settings:
            module = import_module("tailrace.cli.serve")
            settings = module.settings_of(arguments) if called == name else {}
            found = module.with_flags(found, module.all_settings() if completes else settings)
        if command.is_group:
            app.add_typer(found, name=name)
        else:
            app.command(name, context_settings={"allow_extra_args": command.takes_extra})(found)
    return app


class _Commands(TyperGroup):
    """The commands, whose refusals of a value are sentences."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = refusal(error)
            raise


def refusal(error: typer.BadParameter) -> str:
    """Return why a value is refused; what the library that checks the types of values says is put in plain words."""
    found = getattr(error.__cause__, "errors", None)
    if found is None:
        return error.message
    first = found()[0]
    value, context = first["input"], first.get("ctx", {})
    match first["type"]:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"{value} is less than {context['ge']}"
        case "less_than_equal":
            return f"{value} is more than {context['le']}"
        case kind if kind.startswith("int_"):
            return f"{value!r} is not a whole number"
        case _:
            return f"{value!r} is not accepted: {first['msg']}"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tailrace {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take the options that stand before a command."""
