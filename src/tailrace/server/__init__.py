"""Builds the parts from the settings, wires them, and runs the HTTP server."""

from tailrace.server.serve import serve

__all__ = ["serve"]
