"""The console of a real server: its setting, its line in the banner, its requests among the metrics."""

import re
from typing import TYPE_CHECKING

from support.browser import HEADERS, SESSION

if TYPE_CHECKING:
    from conftest import MakeServer, Server

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LINK = re.compile(r"Console: (\S+)/#/sign-in\?code=(\S+) \(signs in once; tailrace console makes another link\)")


def test_the_link_of_the_banner_signs_in_once(make_server: "MakeServer") -> None:
    server = make_server().start()
    (found,) = filter(None, map(LINK.fullmatch, server.banner))

    assert found[1] == server.url
    answers = [server.client.post(SESSION, json={"code": found[2]}, headers=HEADERS).status_code for _ in range(2)]
    assert answers == [200, 401]


def test_a_server_whose_setting_is_off_has_no_console(make_server: "MakeServer") -> None:
    server = make_server("--console-enabled=false").start()

    assert not [line for line in server.banner if line.startswith("Console:")]
    page = server.client.get("/", headers=PAGE)
    assert page.headers["content-type"] == server.client.get("/").headers["content-type"]
    assert "<" not in page.text
    for path in ("/tailrace/console/icon.svg", "/tailrace/console/"):
        assert server.client.get(path, headers=PAGE).status_code == 404


def test_requests_for_the_console_are_counted_as_its_own(server: "Server") -> None:
    def counted() -> float:
        text = server.client.get("/metrics").text
        lines = (line for line in text.splitlines() if line.startswith("tailrace_requests_total{"))
        return sum(float(line.rpartition(" ")[2]) for line in lines if 'protocol="console"' in line)

    before = counted()
    server.client.get("/", headers=PAGE)
    server.client.get("/tailrace/console/nothing.js")
    assert counted() == before + 2
