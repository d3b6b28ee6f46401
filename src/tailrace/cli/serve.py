"""`tailrace serve`, `worker` and `config`: all take the settings file and a flag for every setting."""

import gc
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailrace.cli.errors import USAGE, CommandError
from tailrace.config import (
    BYTES,
    NAMES,
    NETWORKS,
    SECONDS,
    ConfigError,
    Schema,
    Setting,
    flag,
    load,
    settings_reference,
)

if TYPE_CHECKING:
    from tailrace.server.settings import Settings

_METAVARS = {
    BYTES: "SIZE",
    SECONDS: "TIME",
    "": "TEXT",
    NAMES: "NAME,…",
    NETWORKS: "ADDRESS,…",
}

CONFIG_FLAG = "--config"
ConfigFile = Annotated[
    Path | None,
    typer.Option(CONFIG_FLAG, envvar="TAILRACE_CONFIG", help="TOML file of settings.", metavar="FILE"),
]


class ConfigFormat(StrEnum):
    """How the effective settings are printed."""

    TABLE = "table"
    JSON = "json"


def all_settings() -> Mapping[str, Setting]:
    """Return every setting by name, which brings the protocols along, whose options are settings."""
    return _schema().settings


def settings_of(arguments: Sequence[str]) -> Mapping[str, Setting]:
    """Return the settings that are given as flags; all where an argument is another one, as of help or misspelt.

    The others' flags need not be made, of which there are more than a hundred.
    """
    settings = all_settings()
    given = {item.partition("=")[0] for item in arguments if item.startswith("-")} - {CONFIG_FLAG}
    named = {name: setting for name, setting in settings.items() if flag(name) in given}
    return named if len(named) == len(given) else settings


def with_flags(command: Callable[..., None], settings: Mapping[str, Setting]) -> Callable[..., None]:
    """Add flags for settings to a command; they arrive together in its argument `flags`, by setting name."""

    def run(**given: Any) -> None:
        flags = {name: given.pop(name) for name in settings}
        command(flags=flags, **given)

    own = [item for item in inspect.signature(command).parameters.values() if item.name != "flags"]
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(
                    flag(name),
                    help=_help(setting),
                    metavar=_METAVARS.get(setting.unit, "NUMBER"),
                    show_default=False,
                ),
            ],
        )
        for name, setting in settings.items()
    ]
    run.__signature__ = inspect.Signature(own + more)  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    return run


def _schema() -> "Schema[Settings]":
    from tailrace.server.settings import SCHEMA

    return SCHEMA


def _help(setting: Setting) -> str:
    return f"{setting.description} Default: {setting.shown(setting.default)}.".replace("`", "")


def _load(config: Path | None, flags: dict[str, object]) -> "tuple[Settings, dict[str, str]]":
    try:
        return load(config, flags, os.environ, _schema())
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from error


def serve(*, config: ConfigFile = None, flags: dict[str, object]) -> None:
    """Start the server and run it until SIGTERM or SIGINT."""
    settings, _ = _load(config, flags)
    # What is made while modules are imported lives as long as the server, which turns the collector on again.
    gc.disable()
    # Only here: the server brings its whole engine along, which no other command needs.
    from tailrace.server.serve import serve as run

    try:
        run(settings, lambda: load(config, flags, os.environ, _schema())[0])
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from error


def worker(*, config: ConfigFile = None, flags: dict[str, object]) -> None:
    """Run parts of large queries, which a server with the same settings gives by its Dask scheduler, until SIGTERM."""
    settings, _ = _load(config, flags)
    from tailrace.server.query_worker import run_worker

    try:
        run_worker(settings)
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from error


def show_config(
    *,
    config: ConfigFile = None,
    form: Annotated[ConfigFormat, typer.Option("--format", help="How to print.")] = ConfigFormat.TABLE,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the settings reference as Markdown instead.")
    ] = False,
    flags: dict[str, object],
) -> None:
    """Print the effective settings, each with where it comes from."""
    if reference:
        print(settings_reference(_schema()), end="")
        return
    settings, origins = _load(config, flags)
    if settings.reference.model_prices or settings.reference.geo_database:
        # Only then: it brings the query engine along.
        from tailrace.server.engines import reference_data_of

        try:
            reference_data_of(settings)
        except ConfigError as error:
            raise CommandError(str(error), USAGE) from error
    schema = _schema()
    if form is ConfigFormat.JSON:
        effective = {
            name: {"value": _json_value(schema.settings[name], schema.value(settings, name)), "origin": origin}
            for name, origin in origins.items()
        }
        print(json.dumps(effective, indent=2))
        return
    from tailrace.cli.output import print_table

    rows = (
        [name, schema.settings[name].shown(schema.value(settings, name)), origin] for name, origin in origins.items()
    )
    print_table(["SETTING", "VALUE", "FROM"], rows)


def _json_value(setting: Setting, value: object) -> object:
    return value if isinstance(value, (int, float)) else setting.shown(value)
