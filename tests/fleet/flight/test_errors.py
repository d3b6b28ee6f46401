"""Errors arrive at another node as what they are."""

import msgspec
import pytest

from tailrace.events import DatasetNotFound, DiskFull, Overloaded, TailraceError
from tailrace.fleet.flight.errors import MAX_MESSAGE, ErrorMessage, OwnerUnavailable, decode_error, encode_error


@pytest.mark.parametrize("kind", [DatasetNotFound, DiskFull, Overloaded, OwnerUnavailable])
def test_an_error_keeps_its_class_words_and_time_to_retry(kind: type[TailraceError]) -> None:
    found = decode_error(encode_error(kind("a reason", retry_after_s=7)))

    assert (type(found), found.message, found.retry_after_s) == (kind, "a reason", 7)


def test_an_error_of_a_class_that_needs_more_is_of_the_nearest_that_does_not() -> None:
    class Special(DatasetNotFound):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} of {two}")

    found = decode_error(encode_error(Special(1, 2)))

    assert (type(found), found.message) == (DatasetNotFound, "1 of 2")


def test_an_error_of_a_later_version_is_of_the_nearest_class_that_is_known() -> None:
    raw = msgspec.msgpack.encode(ErrorMessage(("OfTomorrow", "DiskFull", "TailraceError"), "no", None))

    assert type(decode_error(raw)) is DiskFull


def test_a_long_message_is_cut() -> None:
    assert len(decode_error(encode_error(DiskFull("x" * 100_000))).message) == MAX_MESSAGE
