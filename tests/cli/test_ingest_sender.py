"""What the server says of a piece that was sent."""

import pytest

from tailrace.cli.errors import CommandError
from tailrace.cli.ingest_sender import RefusedEvents, read_outcome


def test_failures_are_numbered_within_the_file() -> None:
    answer = {
        "ingested": 5,
        "failed": 2,
        "failures": [
            {"timestamp": "2030-01-01T00:00:00Z", "error": "event 3: too\nlarge"},
            {"timestamp": "2030-01-01T00:00:00Z", "error": "too large"},
        ],
    }
    outcome = read_outcome(answer, 100)
    assert outcome.ingested == 5
    assert outcome.failed == 2
    assert outcome.failures == (
        RefusedEvents("event 103", 1, "too\nlarge"),
        RefusedEvents("an event of 2030-01-01T00:00:00Z", 1, "too large"),
    )


def test_an_answer_that_is_no_ingest_answer_is_an_error() -> None:
    with pytest.raises(CommandError, match="not one to an ingest request"):
        read_outcome({"ok": True}, 0)
