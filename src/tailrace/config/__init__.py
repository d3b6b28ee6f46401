"""Settings: how one is declared, read from a TOML file, `TAILRACE_*` variables and flags, checked and documented."""

from tailrace.config.field import Setting, Unit
from tailrace.config.load import CLIENT_VARIABLES, ConfigError, load
from tailrace.config.reference import settings_reference
from tailrace.config.settings import ENV_PREFIX, SETTINGS, Schema, Settings, environment_variable, flag
from tailrace.config.units import format_duration, format_size, parse_duration, parse_size

__all__ = [
    "CLIENT_VARIABLES",
    "ENV_PREFIX",
    "SETTINGS",
    "ConfigError",
    "Schema",
    "Setting",
    "Settings",
    "Unit",
    "environment_variable",
    "flag",
    "format_duration",
    "format_size",
    "load",
    "parse_duration",
    "parse_size",
    "settings_reference",
]
