"""Finding the server and its token, and what the client does with refusals."""

import json
from pathlib import Path

import httpx
import pytest

from tailrace.cli.client import MAX_ATTEMPTS, MAX_WAIT_S, Target, find_server, send_with_retries
from tailrace.cli.errors import CommandError
from tailrace.cli.output import printable

LOCAL = "http://127.0.0.1:8080"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "server.json").write_text(json.dumps({"url": LOCAL, "pid": 1}))
    (tmp_path / "owner-token").write_text("xapt-owner\n")
    return tmp_path


def test_the_local_server_is_found_with_its_owner_token(data: Path) -> None:
    assert find_server(None, None, data) == Target(LOCAL, "xapt-owner")


def test_what_is_given_wins(data: Path) -> None:
    assert find_server("https://far.example/", "xaat-1", data) == Target("https://far.example", "xaat-1")
    assert find_server(None, "xaat-1", data) == Target(LOCAL, "xaat-1")


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080/", "http://[::1]:8080"])
def test_the_owner_token_goes_to_the_local_server_by_any_of_its_names(data: Path, url: str) -> None:
    assert find_server(url, None, data).token == "xapt-owner"


@pytest.mark.parametrize("url", ["https://far.example", "http://127.0.0.1:8081", "https://127.0.0.1:8080"])
def test_the_owner_token_goes_to_no_other_server(data: Path, url: str) -> None:
    with pytest.raises(CommandError, match="no token for"):
        find_server(url, None, data)


def test_without_a_local_server_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="start one with `tailrace serve`"):
        find_server(None, None, tmp_path)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:port", "http://[::1"])
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(CommandError, match="not a server's URL"):
        find_server(url, "xaat-1", tmp_path)


def test_a_broken_server_file_is_named(data: Path) -> None:
    (data / "server.json").write_text("{")
    with pytest.raises(CommandError, match=r"server\.json"):
        find_server(None, None, data)


class Answers:
    """Gives prepared answers in turn, the last one for ever, and keeps the waits between."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.sent = 0
        self.waits: list[float] = []

    def __call__(self) -> httpx.Response:
        answer = self.answers[min(self.sent, len(self.answers) - 1)]
        self.sent += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self) -> httpx.Response:
        return send_with_retries(self, self.waits.append)


def test_an_answer_that_is_not_a_call_for_patience_is_final() -> None:
    for status in (200, 400, 401, 500, 502, 504):
        answers = Answers(httpx.Response(status))
        assert answers.run().status_code == status
        assert answers.sent == 1


def test_retry_after_is_waited_for() -> None:
    busy = httpx.Response(503, headers={"Retry-After": "7"})
    answers = Answers(busy, httpx.Response(429, headers={"Retry-After": "0"}), httpx.Response(200))
    assert answers.run().status_code == 200
    assert answers.waits == [7, 0]


def test_retry_after_may_be_a_date_and_is_not_waited_for_without_end() -> None:
    far = httpx.Response(429, headers={"Retry-After": "Fri, 31 Dec 2199 23:59:59 GMT"})
    past = httpx.Response(429, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    answers = Answers(far, past, httpx.Response(200))
    answers.run()
    assert answers.waits == [MAX_WAIT_S, 0]


def test_without_retry_after_the_waits_grow_to_a_limit() -> None:
    answers = Answers(httpx.Response(503), httpx.Response(429, headers={"Retry-After": "soon"}), httpx.Response(503))
    assert answers.run().status_code == 503
    assert answers.sent == MAX_ATTEMPTS
    assert len(answers.waits) == MAX_ATTEMPTS - 1
    assert 0 < answers.waits[0] < answers.waits[2] < answers.waits[4] <= MAX_WAIT_S


def test_a_server_that_restarts_is_waited_for() -> None:
    answers = Answers(httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(200))
    assert answers.run().status_code == 200


def test_a_server_that_was_never_there_is_not_waited_for() -> None:
    answers = Answers(httpx.ConnectError("refused"))
    with pytest.raises(httpx.ConnectError):
        answers.run()
    assert answers.sent == 1


def test_a_request_whose_connection_broke_is_not_sent_again() -> None:
    answers = Answers(httpx.Response(503), httpx.ReadError("reset"), httpx.Response(200))
    with pytest.raises(httpx.ReadError):
        answers.run()


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mé\u202e\n") == "a\\x1b[31mé\\u202e\n"
