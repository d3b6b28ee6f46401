"""Loading the settings from defaults, file, environment and flags, with the origin of each."""

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tailrace.config.schema import ENV_PREFIX, Schema, T, environment_variable, flag
from tailrace.config.setting import Setting

CLIENT_VARIABLES = frozenset({"TAILRACE_URL", "TAILRACE_TOKEN", "TAILRACE_CAFILE", "TAILRACE_CONFIG"})
DIAGNOSIS_VARIABLES = frozenset({"TAILRACE_NATIVE"})  # which no setting is: a server should hardly run with one


class ConfigError(Exception):
    """The settings cannot be used; the message has one line for each error."""


def load(
    config_file: Path | None, flags: Mapping[str, object], environ: Mapping[str, str], schema: Schema[T]
) -> tuple[T, dict[str, str]]:
    """Return the effective settings, and for each its origin, in words.

    Rising precedence: defaults, the TOML file, `TAILRACE_…` variables, flags (by setting name; None is not
    given). An empty variable counts as not given. Raise ConfigError for unknown names and for values outside
    their bounds.
    """
    names = schema.settings.keys()
    values: dict[str, object] = {}
    origins = dict.fromkeys(names, "default")
    wrong: list[str] = []

    if config_file is not None:
        origin = f"file {config_file}"
        for name, value in _flattened(_read_toml(config_file), names):
            if name in names:
                values[name], origins[name] = value, origin
            else:
                wrong.append(f"unknown setting {name!r} in {origin}{_instead(name, names, schema.removed)}")

    variables = {environment_variable(name): name for name in names}
    for variable, text in environ.items():
        if variable in variables:
            if text:
                values[variables[variable]], origins[variables[variable]] = text, f"environment {variable}"
        elif variable.startswith(ENV_PREFIX) and variable not in CLIENT_VARIABLES | DIAGNOSIS_VARIABLES:
            wrong.append(
                f"unknown environment variable {variable}{_instead(variable, variables, schema.removed, ENV_PREFIX)}"
            )

    for name, value in flags.items():
        if name not in names:
            wrong.append(f"unknown flag {flag(name)}{_instead(flag(name), map(flag, names), schema.removed, '--')}")
        elif value is not None:
            values[name], origins[name] = value, f"flag {flag(name)}"

    checked: dict[str, Any] = {}
    for name in names:
        if name in values:
            try:
                checked[name] = schema.settings[name].checked(values[name])
            except ValueError:  # msgspec's own is one
                wrong.append(_wrong_value(name, schema.settings[name], values[name], origins[name]))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return schema.build(checked), origins


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}") from error


def _flattened(values: Mapping[str, object], names: Iterable[str]) -> Iterator[tuple[str, object]]:
    """Yield the values of a file; what stands in a table `[query]` has names that begin with `query_`."""
    for name, value in values.items():
        if isinstance(value, dict) and name not in names:
            yield from ((f"{name}_{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _wrong_value(name: str, setting: Setting, value: object, origin: str) -> str:
    met = "the value" if setting.secret else repr(value)
    return f"setting {name} ({origin}): {met} is not accepted; it takes {setting.accepted}"


def _instead(name: str, known: Iterable[str], removed: Mapping[str, str], prefix: str = "") -> str:
    instead = removed.get(name.removeprefix(prefix).lower().replace("-", "_"))
    if instead is not None:
        return f"; {instead}"
    # By the prefix alone two short names would be alike.
    near = difflib.get_close_matches(name.removeprefix(prefix), [each.removeprefix(prefix) for each in known], n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""
