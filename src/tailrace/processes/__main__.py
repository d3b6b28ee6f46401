"""`python -m tailrace.processes DESCRIPTOR`: the spawner, as a program of its own."""

import socket
import sys

from tailrace.processes.spawner import run

run(socket.socket(fileno=int(sys.argv[1])))
