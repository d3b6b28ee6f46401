"""Processes of the server beside its own: what forks them, and how each ends."""

from tailrace.processes.spawner import Spawner

__all__ = ["Spawner"]
