"""docs/datamix.md says what is so: its commands are run as printed, and its numbers are those of the code."""

from typing import TYPE_CHECKING

from support.pages import DOCS, run_commands

from tailrace.access.sessions import BURST_S, MAX_DELAY_S, MAX_LIVE, RATE_BYTES_PER_S, SESSION_MS
from tailrace.protocols.datamix import MAX_KEY_BODY_BYTES
from tailrace.protocols.datamix_messages import MAX_AGE_MS, MAX_AHEAD_MS

if TYPE_CHECKING:
    from conftest import Server

PAGE = (DOCS / "datamix.md").read_text()


def test_the_commands_do_what_the_page_says(server: "Server") -> None:
    answers = run_commands(PAGE, server)

    logged, form, query = answers
    assert (logged["processed"], form["processed"]) == (1, 1)
    assert logged["rejected"] == [{"index": "1", "message": "Invalid log level: loud"}]
    assert query["rows"] == [
        {"level": "info", "message": "from JSON"},
        {"level": "warn", "message": "from a form"},
    ]


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"{RATE_BYTES_PER_S / 1e6:g} MB/s" in PAGE
    assert f"After {RATE_BYTES_PER_S * BURST_S / 1e6:g} MB at once" in PAGE
    assert f"by {MAX_DELAY_S:g} seconds at most" in PAGE
    assert f"for {MAX_LIVE:,} sessions" in PAGE
    assert SESSION_MS == 3_600_000
    assert "one hour after its start" in PAGE
    assert f"at most {MAX_AGE_MS // 60_000} minutes before" in PAGE
    assert f"{MAX_AHEAD_MS // 1000} seconds after" in PAGE
    assert f"at most {MAX_KEY_BODY_BYTES // 1024} KiB" in PAGE
