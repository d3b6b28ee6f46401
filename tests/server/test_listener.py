"""The URL at which a listening server is reached."""

import socket

import pytest

from tailrace.server.listener import listening, url_of


@pytest.mark.parametrize(
    ("host", "reached"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("localhost", "localhost"), ("::", "[::1]")],
)
def test_the_url_names_a_host_that_this_machine_reaches(host: str, reached: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert url_of(host, listener) == f"http://{reached}:{listener.getsockname()[1]}"


def test_a_port_that_is_taken_is_refused_in_a_line() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"cannot listen on 127.0.0.1 port {port}: .*--port"):
            listening("127.0.0.1", port).__enter__()
