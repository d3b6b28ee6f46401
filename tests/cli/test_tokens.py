"""How the rights and the end of a token are written."""

from datetime import UTC, datetime

import pytest

from tailrace.cli.tokens import parse_budget, parse_expiry, parse_rights


@pytest.mark.parametrize(
    ("text", "dataset", "rights"),
    [
        ("logs", "logs", {"ingest": ["create"], "query": ["read"]}),
        ("logs:ingest", "logs", {"ingest": ["create"]}),
        ("*:query, ingest", "*", {"query": ["read"], "ingest": ["create"]}),
    ],
)
def test_rights_are_read(text: str, dataset: str, rights: dict[str, list[str]]) -> None:
    assert parse_rights(text) == (dataset, rights)


@pytest.mark.parametrize("text", ["", ":ingest", "logs:", "logs:write"])
def test_what_are_no_rights_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"dataset|right"):
        parse_rights(text)


def test_an_expiry_is_a_time_or_a_duration_from_now() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert parse_expiry("90d", now) == "2030-04-01T00:00:00Z"
    for text in ("2031-01-01T00:00:00+02:00", "1 Jan 2031", "soon"):
        assert parse_expiry(text, now) == text  # for the server to read
    for text, words in (("90x", "no duration"), ("99999999999d", "no duration"), ("2031", "no unit"), ("1.5", "unit")):
        with pytest.raises(ValueError, match=words):
            parse_expiry(text, now)


def test_a_budget_is_of_rows_bytes_and_seconds() -> None:
    assert parse_budget(["rows:100000", "seconds:1.5"]) == {"rowsPerDay": 100_000, "secondsPerDay": 1.5}
    for text in ("rows", "rows:", "rows:-1", "rows:x", "days:1", ""):
        with pytest.raises(ValueError, match="is no budget: it is like rows:100000"):
            parse_budget([text])
