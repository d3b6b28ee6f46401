"""Fluentd's logger for Python sends to a server, which stores all of it, also when it is killed and starts again."""

import socket
import time
from typing import TYPE_CHECKING

import msgpack
from fluent import sender
from support.ports import free_port
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

HOST = "127.0.0.1"
TOKEN = "xapt-known-to-the-test"


def count(server: "Server") -> int:
    found: int = server.sql("SELECT count(*) AS c FROM demo")[0]["c"]
    return found


def test_the_logger_for_python_is_stored_across_a_kill_of_the_server(make_server: "MakeServer") -> None:
    port = free_port()
    server = make_server(
        f"--fluent-tcp-port={port}",
        "--fluent-dataset=demo",
        env={"TAILRACE_ROOT_TOKEN": TOKEN, "TAILRACE_FLUENT_TOKEN": TOKEN},
    ).start()
    assert f"Doors:  fluent tcp {HOST}:{port}" in server.banner
    logger = sender.FluentSender("app", host=HOST, port=port, nanosecond_precision=True)
    before_ns = time.time_ns()
    for number in range(50):
        assert logger.emit("step", {"n": number, "text": "ü", "nested": {"a": [number, None]}})
    wait_until(lambda: count(server) == 50)
    # An acknowledged message is durable.
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(msgpack.packb(["app.ack", 1, {"n": 50}, {"chunk": "c"}]))
        assert msgpack.unpackb(connection.recv(100)) == {"ack": "c"}
    server.kill()
    assert not logger.emit("step", {"n": 51})  # is kept by the client
    server.start()
    assert logger.emit("step", {"n": 52})
    wait_until(lambda: count(server) == 53)
    rows = server.sql("SELECT n, tag, text, _time FROM demo ORDER BY n")
    assert [row["n"] for row in rows] == list(range(53))
    assert {row["tag"] for row in rows} == {"app.step", "app.ack"}
    assert rows[0]["text"] == "ü"
    [first] = server.sql("SELECT epoch_ns(_time) AS t FROM demo WHERE n = 0")
    assert before_ns // 1000 <= first["t"] // 1000 <= time.time_ns() // 1000
    logger.close()
    assert server.stop() == 0
    assert server.errors.read_text() == ""
