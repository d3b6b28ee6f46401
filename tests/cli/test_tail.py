"""`tailrace tail`, run as a user runs it, against real servers."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import http
from support.commands import tailrace
from support.waiting import wait_until

from tailrace.cli.tail import line_of, parsed

if TYPE_CHECKING:
    from conftest import MakeServer, Server


class Tail:
    """A running command; what it printed can be looked at."""

    def __init__(self, directory: Path, env: dict[str, str], *arguments: str) -> None:
        self._output, self._notes = directory / "tail.out", directory / "tail.err"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
        with self._output.open("w") as output, self._notes.open("w") as notes:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tailrace", "tail", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=notes,
                env={**clean, **env},
            )

    @property
    def lines(self) -> list[str]:
        return self._output.read_text().splitlines()

    @property
    def notes(self) -> str:
        return self._notes.read_text()

    def numbers(self) -> list[int]:
        return [json.loads(line)["n"] for line in self.lines]


@contextmanager
def tailing(directory: Path, env: dict[str, str], *arguments: str) -> Iterator[Tail]:
    tail = Tail(directory, env, *arguments)
    try:
        yield tail
    finally:
        tail.process.kill()
        tail.process.wait()


def send_until_shown(server: "Server", dataset: str, tail: Tail, n: int) -> None:
    """Send the event until it is shown: nobody is told when the command has begun."""

    def is_shown() -> bool:
        assert tail.process.poll() is None, tail.notes
        assert server.ingest(dataset, [{"n": n, "level": "error"}, {"n": -n, "level": "info"}]).status_code == 200
        return n in tail.numbers()

    wait_until(is_shown, timeout_s=60)


def test_events_are_shown_as_ndjson_to_a_program_and_ctrl_c_ends_it(
    server: "Server", dataset: str, tmp_path: Path
) -> None:
    env = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.api_token(dataset, query=True)}
    with tailing(tmp_path, env, dataset, "--where", "level == 'error'") as tail:
        send_until_shown(server, dataset, tail, 1)
        tail.process.send_signal(signal.SIGINT)
        code = tail.process.wait(30)

    assert (code, tail.notes) == (0, "")
    assert set(tail.numbers()) == {1}
    assert {"_time", "_sysTime", "n", "level"} == json.loads(tail.lines[0]).keys()


def test_a_server_that_is_killed_and_started_again_is_found_again(make_server: "MakeServer", tmp_path: Path) -> None:
    server = make_server().start()
    with tailing(tmp_path, {"TAILRACE_DATA": str(server.data)}, "demo") as tail:
        send_until_shown(server, "demo", tail, 1)
        server.kill()
        wait_until(lambda: "connecting again" in tail.notes)
        server.start()
        send_until_shown(server, "demo", tail, 2)

    assert "connected again; what arrived meanwhile is not shown" in tail.notes


def test_what_cannot_be_tailed_is_one_clear_line(server: "Server", dataset: str) -> None:
    env = {"TAILRACE_DATA": str(server.data)}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = {"TAILRACE_URL": f"http://127.0.0.1:{unused.getsockname()[1]}", "TAILRACE_TOKEN": "xaat-x"}
        for given, arguments, said in (
            (env, ["no-such-dataset"], "not found"),
            (env, [dataset, "--where", "level =="], "line 1, column"),
            ({**env, "TAILRACE_TOKEN": "xapt-wrong"}, [dataset], "refused the token"),
            (nobody, [dataset], "no server answers"),
        ):
            done = tailrace("tail", *arguments, env=given)
            assert (done.returncode, done.stdout) == (1, ""), done.stderr
            assert said in done.stderr.splitlines()[0]


def test_a_revoked_token_ends_it_with_1(server: "Server", dataset: str, tmp_path: Path) -> None:
    made = server.client.post(
        "/v2/tokens", json={"name": "t", "datasetCapabilities": {dataset: {"query": ["read"]}}}
    ).json()
    with tailing(tmp_path, {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": made["token"]}, dataset) as tail:
        send_until_shown(server, dataset, tail, 1)
        assert http.delete(
            f"{server.url}/v2/tokens/{made['id']}",
            headers={"Authorization": f"Bearer {server.token}"},
        ).is_success
        code = tail.process.wait(30)

    assert code == 1
    assert "refused the token" in tail.notes


def test_an_event_is_one_line_for_a_person() -> None:
    event = {
        "_time": "2026-11-21T12:00:00.123456Z",
        "_sysTime": "2026-11-21T12:00:01Z",
        "level": "error",
        "message": "it broke\nbadly\x1b[2J",
        "status": 500,
        "deep": {"er": [1]},
        "none": None,
    }

    shown = line_of(event).plain

    assert shown == ('2026-11-21 12:00:00.123 ERROR it broke\\nbadly\\x1b[2J status=500 deep={"er": [1]}')
    assert line_of({"_time": "2026-11-21T12:00:00Z", "message": 7}).plain == "2026-11-21 12:00:00 message=7"


def test_server_sent_events_are_told_apart_by_their_names() -> None:
    lines = [": comment", "", 'data: {"n":1}', "", "event: missed", 'data: {"count":2}', "", 'data: {"n":3}', ""]

    assert [(sent.name, sent.data) for sent in parsed(iter(lines))] == [
        ("", '{"n":1}'),
        ("missed", '{"count":2}'),
        ("", '{"n":3}'),
    ]


def test_a_condition_s_place_and_the_names_in_it_are_told_of(server: "Server", dataset: str, tmp_path: Path) -> None:
    server.ingest(dataset, [{"level": "error"}])
    env = {"TAILRACE_DATA": str(server.data)}
    wrong = tailrace("tail", dataset, "--where", "level = 'x'", env=env).stderr.splitlines()

    assert "to compare, write '=='" in wrong[0]
    assert wrong[1:] == ["tailrace:   level = 'x'", "tailrace:         ^"]
    with tailing(tmp_path, env, dataset, "--where", "levle == 'x'") as tail:
        wait_until(lambda: "did you mean 'level'" in tail.notes)
