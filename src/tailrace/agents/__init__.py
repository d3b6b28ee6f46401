"""Agents: a server of the Model Context Protocol, whose tools ask the HTTP API with the caller's token.

The package `mcp` is imported by `server` and the modules of tools only, as it takes a second.
"""

from tailrace.agents.application import AgentApplication, AgentsNotInstalled, Application

__all__ = ["AgentApplication", "AgentsNotInstalled", "Application"]
