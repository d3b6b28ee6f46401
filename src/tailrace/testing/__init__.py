"""Servers for the tests of other projects: a context manager, a plugin of pytest, and helpers to read events back."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

__all__ = ["CLIENTS", "EventsMissing", "ServerNotStarted", "TailraceServer", "run_server"]

# Lazily, as pytest imports the plugin in every run of every project that has Tailrace installed.
if TYPE_CHECKING:
    from tailrace.testing.process import ServerNotStarted
    from tailrace.testing.running import run_server
    from tailrace.testing.server import CLIENTS, EventsMissing, TailraceServer
else:
    __getattr__ = lazy_imports(__name__, __file__)
