"""docs/baselime.md: its commands run as printed, and its numbers are those of the code."""

from typing import TYPE_CHECKING

from support.pages import DOCS, needs_jq, run_commands

from tailrace.protocols import baselime

if TYPE_CHECKING:
    from conftest import Server

PAGE = (DOCS / "baselime.md").read_text()


@needs_jq
def test_the_commands_run_as_printed(server: "Server") -> None:
    answers = run_commands(PAGE, server)

    taken, partly, query = answers
    assert taken == {"message": "Request Accepted"}
    assert partly["invalid"] == ['{"message": }', 7]
    assert query["rows"] == [
        {"message": "good", "namespace": "prod"},
        {"message": "paid", "namespace": "prod"},
        {"message": "shipped", "namespace": "depot"},
    ]


def test_the_limits_are_those_of_the_code() -> None:
    for path, size in (
        ("`/v1/{dataset}/{namespace}`", baselime.MAX_EVENT_BYTES),
        ("`/v1/{dataset}/{service}/{namespace}`", baselime.MAX_SERVICE_EVENT_BYTES),
        ("`/v1/{dataset}`", baselime.MAX_LATER_EVENT_BYTES),
    ):
        assert f"| {path} | array of objects | {size // 1024} KiB |" in PAGE
    assert f"at most {baselime.MAX_REQUEST_BYTES // 1024**2} MiB" in PAGE
    assert f"A namespace has at most {baselime.MAX_NAME_BYTES} bytes" in PAGE


def test_the_answers_are_those_of_the_code() -> None:
    assert baselime.ACCEPTED.decode() in PAGE
    for status in (400, 401, 405, 413, 500):
        assert f"{status} `{baselime.MESSAGES[status].decode()}`" in PAGE
    assert all(f"`{name}`" in PAGE for name in baselime.FIELDS.times)
