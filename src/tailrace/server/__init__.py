"""Builds the parts from the settings, wires them, and runs the HTTP server."""

from tailrace.server.serve import facts_of, serve

__all__ = ["facts_of", "serve"]
