"""The messages of a syslog connection are the same, in whatever pieces its bytes come."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.protocols.doors import syslog_frames
from tailrace.protocols.doors.syslog_frames import MAX_MESSAGE_BYTES, SyslogFrames


def read(data: bytes, cuts: Iterable[int] = ()) -> tuple[list[bytes], str]:
    """Return the messages of a connection whose bytes come in pieces, and what is wrong with it."""
    frames = SyslogFrames()
    found: list[bytes] = []
    at = 0
    for cut in (*sorted(cuts), len(data)):
        found += frames.split(data[at:cut])
        at = cut
    if frames.fault is None:
        found += frames.end()
    return found, frames.fault.message if frames.fault is not None else ""


MESSAGE = st.binary(max_size=12).map(lambda rest: b"<13>" + rest.translate(None, b"\0\n\r"))
MULTILINE = st.lists(st.binary(max_size=5).map(lambda line: line.translate(None, b"\0\n\r<")), max_size=3).map(
    lambda lines: b"<14>" + b"\n".join(lines).rstrip(b"\n")
)


@given(st.lists(st.tuples(MESSAGE, st.sampled_from(["counted", "counted, LF", "LF", "CRLF"])), max_size=6), st.data())
def test_each_message_may_be_framed_in_another_way(sent: list[tuple[bytes, str]], data: st.DataObject) -> None:
    stream = b""
    for message, framing in sent:
        if framing.startswith("counted"):
            stream += b"%d %b" % (len(message), message) + (b"\n" if "LF" in framing else b"")
        else:
            stream += message + (b"\r\n" if framing == "CRLF" else b"\n")
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))

    assert read(stream, cuts) == ([message for message, _ in sent], "")


@given(MESSAGE, st.lists(MULTILINE, max_size=4), st.data())
def test_a_sender_that_ends_messages_with_nul_may_have_lines_in_them(
    first: bytes, messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(message + b"\0" for message in (first, *messages))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=5))

    assert read(stream, cuts) == ([first, *messages], "")


@given(st.text("<>13 9\n\r\0ax", max_size=40).map(str.encode), st.data())
def test_the_pieces_in_which_bytes_come_make_no_difference(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syslog_frames, "MAX_MESSAGE_BYTES", 7)
        patch.setattr(syslog_frames, "MAX_COUNTED_BYTES", 100)
        whole = read(stream)
        assert read(stream, cuts) == whole
        assert read(stream, range(len(stream))) == whole
    kept = b"".join(whole[0])
    assert len(kept) <= len(stream)
    assert all(len(frame) <= 8 for frame in whole[0])


def test_what_a_stray_nul_ends_does_not_swallow_the_lines_after_it() -> None:
    stream = b"<13>a\0<13>b\n<13>c\n<13>d\n"

    assert read(stream) == ([b"<13>a", b"<13>b", b"<13>c", b"<13>d\n"[:-1]], "")


@pytest.mark.parametrize("framing", ["LF", "counted"])
def test_a_message_that_is_too_long_is_cut_and_the_next_one_is_whole(framing: str) -> None:
    long = b"<13>" + b"x" * (3 * MAX_MESSAGE_BYTES)
    stream = (long + b"\n" if framing == "LF" else b"%d %b" % (len(long), long)) + b"<13>next\n"

    for cuts in ((), range(0, len(stream), 50_000)):
        found, fault = read(stream, cuts)
        assert (found, fault) == ([long[: MAX_MESSAGE_BYTES + 1], b"<13>next"], "")


def test_no_more_is_held_than_a_message_may_have() -> None:
    frames = SyslogFrames()
    most = 0
    for _ in range(100):
        frames.split(b"x" * 10_000)
        most = max(most, frames.pending_bytes)
    assert most <= MAX_MESSAGE_BYTES + 10_000


def test_a_number_that_counts_nothing_is_text() -> None:
    assert read(b"12 monkeys\n2024-01-01T00:00:00Z h a: b\n7\n7 ") == (
        [b"12 monkeys", b"2024-01-01T00:00:00Z h a: b", b"7", b"7 "],
        "",
    )


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "TLS is spoken on a port without it"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP is spoken on a port of syslog"),
        (b"123456789 <13>x", "a message is said to have 123456789 bytes"),
        (b"30 <13>x", "the connection ended after 5 of the 30 bytes of a message"),
    ],
)
def test_what_is_no_syslog_is_a_fault(stream: bytes, reason: str) -> None:
    assert read(stream) == ([], reason)
    assert read(stream, range(len(stream))) == ([], reason)
