"""logger(1) and rsyslogd send to a server by syslog, which stores all of it, also when it stops and starts again."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ports import free_port
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

LOGGER = shutil.which("logger")
# Debian keeps it where only root's PATH leads.
RSYSLOGD = os.environ.get("RSYSLOGD") or shutil.which("rsyslogd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
HOST = "127.0.0.1"


def listening(make_server: "MakeServer", tcp: int, udp: int) -> "Server":
    return make_server(
        f"--syslog-tcp-port={tcp}",
        f"--syslog-udp-port={udp}",
        "--syslog-dataset=demo",
        env={"TAILRACE_ROOT_TOKEN": "xapt-known-to-the-test", "TAILRACE_SYSLOG_TOKEN": "xapt-known-to-the-test"},
    )


def texts(server: "Server", count: int) -> list[str]:
    """Return the messages once there are so many."""
    wait_until(lambda: server.sql("SELECT count(*) AS c FROM demo")[0]["c"] >= count)
    return [row["message"] for row in server.sql("SELECT message FROM demo")]


@pytest.mark.skipif(LOGGER is None, reason="logger(1) is not installed")
def test_logger_sends_by_each_of_its_formats(make_server: "MakeServer") -> None:
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    server = listening(make_server, tcp, udp).start()
    assert f"Doors:  syslog tcp {HOST}:{tcp}, syslog udp {HOST}:{udp}" in server.banner
    formats = (
        ("--rfc5424", "-T", f"-P{tcp}"),
        ("--rfc3164", "-T", f"-P{tcp}"),
        ("--octet-count", "--rfc5424", "-T", f"-P{tcp}"),
        ("--rfc5424", "-d", f"-P{udp}"),
        ("--rfc3164", "-d", f"-P{udp}"),
    )
    for number, arguments in enumerate(formats):
        subprocess.run(
            [str(LOGGER), "-n", HOST, "-t", "unit", "-p", "local0.err", *arguments, f"message {number}"],
            check=True,
            timeout=30,
        )

    assert sorted(texts(server, len(formats))) == [f"message {number}" for number in range(len(formats))]
    rows = server.sql("SELECT facility, severity, app_name FROM demo")
    assert rows == [{"facility": "local0", "severity": "error", "app_name": "unit"}] * len(formats)
    metrics = server.client.get("/metrics").text
    assert 'tailrace_ingested_events_total{protocol="syslog"} 5.0' in metrics
    assert 'tailrace_door_connections{protocol="syslog",route="tcp"} 0.0' in metrics
    assert server.stop() == 0
    assert server.errors.read_text() == ""


@pytest.mark.skipif(RSYSLOGD is None, reason="rsyslogd is not installed")
@pytest.mark.parametrize("framing", ["traditional", "octet-counted"])
def test_rsyslogd_forwards_all_across_a_restart_of_the_server(
    make_server: "MakeServer", tmp_path: Path, framing: str
) -> None:
    tcp, udp = free_port(), free_port(socket.SOCK_DGRAM)
    server = listening(make_server, tcp, udp).start()
    source = tmp_path / "source"
    config = tmp_path / "rsyslog.conf"
    modules = os.environ.get("RSYSLOG_MODULES")
    config.write_text(
        f"""
        global(workDirectory="{tmp_path}")
        module(load="imuxsock" SysSock.Use="off")
        input(type="imuxsock" Socket="{source}")
        action(type="omfwd" target="{HOST}" port="{tcp}" protocol="tcp" TCP_Framing="{framing}"
               template="RSYSLOG_SyslogProtocol23Format" action.resumeInterval="1" action.resumeRetryCount="-1"
               queue.type="LinkedList" queue.size="10000")
        """
    )
    daemon = subprocess.Popen(
        [str(RSYSLOGD), "-n", "-i", str(tmp_path / "pid"), "-f", str(config), *(["-M", modules] if modules else [])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(source.exists)

        def log(first: int) -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(source))
                for number in range(first, first + 50):
                    sender.send(f"<14>unit: message {number:03}".encode())

        log(0)
        texts(server, 50)
        assert server.stop() == 0
        log(50)
        server.start()
        # Of what follows the tag rsyslog sends the space, too.
        assert sorted(texts(server, 100)) == [f" message {number:03}" for number in range(100)]
        [row] = server.sql("SELECT count(DISTINCT hostname) AS hosts, min(app_name) AS app FROM demo")
        assert row == {"hosts": 1, "app": "unit"}
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
