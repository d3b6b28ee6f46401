"""`python -m tailrace.query.engines DESCRIPTOR`: the process that forks query processes, as a program of its own."""

import socket
import sys

import tailrace.query.engines.worker  # noqa: F401  # once, for all that are forked
from tailrace.query.engines.spawner import run

run(socket.socket(fileno=int(sys.argv[1])))
