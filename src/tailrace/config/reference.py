"""The settings reference, made from the settings themselves."""

from typing import Any

from tailrace.config.schema import Schema, environment_variable, flag
from tailrace.config.setting import Setting

_HEAD = """\
# Settings

<!-- Made by `make docs` from the structs that src/tailrace/server/settings.py is the sum of; edit there. -->

A setting is looked for in four places; a later one wins:

1. its default,
2. the TOML file given by `--config FILE` or `TAILRACE_CONFIG` (`port = 9000`, `commit_bytes = "64MiB"`),
3. its environment variable (an empty one counts as not given),
4. its flag of `tailrace serve`.

`tailrace config` prints the effective values and where each came from. An unknown key, variable or flag, or
a value that is not accepted, stops the start. Sizes are bytes, or a number with kB, MB, GB (thousands) or
KiB, MiB, GiB (1024s); times are seconds, or a number with ms, s, m, h or d. A relative path is relative to
the working directory.

| Setting (TOML key) | Environment variable | Flag | Default | Unit | Meaning | Accepted |
| --- | --- | --- | --- | --- | --- | --- |
"""

_TAIL = """
Read by the commands that talk to a server (all but `serve` and `config`): `TAILRACE_URL`, the server's base URL,
`TAILRACE_TOKEN`, a token, and `TAILRACE_CAFILE`, a PEM file of the certificates to trust for https. Without a URL
and a token a command uses the server that runs on the local data directory.
"""


def settings_reference(schema: Schema[Any]) -> str:
    """Return the page docs/settings.md: every setting with its names, default, unit, bounds and meaning."""
    return _HEAD + "".join(_row(name, setting) for name, setting in schema.settings.items()) + _TAIL


def _row(name: str, setting: Setting) -> str:
    default = "(none)" if setting.secret or setting.default == "" else f"`{setting.shown(setting.default)}`"
    cells = (
        f"`{name}`",
        f"`{environment_variable(name)}`",
        f"`{flag(name)}`",
        default,
        setting.unit,
        setting.description,
        setting.accepted,
    )
    return "| " + " | ".join(cells) + " |\n"
