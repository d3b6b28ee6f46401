"""Every setting in one frozen struct; read from a TOML file, `TAILRACE_*` and flags, in that rising order."""

from tailrace.config.load import CLIENT_VARIABLES, ConfigError, load
from tailrace.config.reference import settings_reference
from tailrace.config.settings import ENV_PREFIX, SETTINGS, Settings, environment_variable, flag, shown, unit_of
from tailrace.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "CLIENT_VARIABLES",
    "ENV_PREFIX",
    "SETTINGS",
    "ConfigError",
    "Settings",
    "environment_variable",
    "flag",
    "format_duration",
    "format_size",
    "load",
    "parse_duration",
    "parse_size",
    "settings_reference",
    "shown",
    "unit_of",
]
