"""Ports for servers that are told which one to listen on."""

import random
import socket
from contextlib import suppress

HOST = "127.0.0.1"
# Below those that a system gives to whoever asks for any one, who would get a port between its choice and its use.
FIRST, LAST = 20_000, 32_000

_chance = random.SystemRandom()  # as several processes of tests, each seeded alike, choose at the same time


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that nobody listens on."""
    for _ in range(100):
        port = _chance.randrange(FIRST, LAST)
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError(f"no port between {FIRST} and {LAST} is free")


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody listens on."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)
