"""The fixtures of the plugin, which an installation of before it had entry points does not tell pytest of."""

from tailrace.testing.plugin import tailrace, tailrace_server, tailrace_settings

__all__ = ["tailrace", "tailrace_server", "tailrace_settings"]
