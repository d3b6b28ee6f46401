"""Settings: how one is declared, read from a TOML file, `TAILRACE_*` variables and flags, checked and documented."""

from tailrace.config.load import CLIENT_VARIABLES, ConfigError, load
from tailrace.config.reference import settings_reference
from tailrace.config.schema import ENV_PREFIX, Schema, environment_variable, flag
from tailrace.config.setting import BYTES, NAMES, NETWORKS, SECONDS, Setting
from tailrace.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "BYTES",
    "CLIENT_VARIABLES",
    "ENV_PREFIX",
    "NAMES",
    "NETWORKS",
    "SECONDS",
    "ConfigError",
    "Schema",
    "Setting",
    "environment_variable",
    "flag",
    "format_duration",
    "format_size",
    "load",
    "parse_duration",
    "parse_size",
    "settings_reference",
]
