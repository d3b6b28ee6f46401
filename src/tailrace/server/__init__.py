"""Builds the parts from the settings, wires them, and runs the HTTP server."""
