"""Servers for the tests of other projects: a context manager, a plugin of pytest, and helpers to read events back."""

from typing import TYPE_CHECKING, Any

__all__ = ["CLIENTS", "EventsMissing", "ServerNotStarted", "TailraceServer", "run_server"]

# Lazily, as pytest imports the plugin in every run of every project that has Tailrace installed.
if TYPE_CHECKING:
    from tailrace.testing.process import ServerNotStarted
    from tailrace.testing.running import run_server
    from tailrace.testing.server import CLIENTS, EventsMissing, TailraceServer
else:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from tailrace.events.lazy import lazy_imports  # which brings more along than most runs need

        return lazy_imports(__name__, __file__)(name)
