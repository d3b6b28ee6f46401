"""A syslog message is the event that it says, whoever wrote it."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.timestamps import NS_PER_S, timestamp_ns
from tailrace.protocols.doors.syslog_messages import FACILITIES, SEVERITIES, syslog_event

RECEIVED_NS = timestamp_ns("2025-12-31T23:59:59Z")


def event(text: str, received: str = "", zone: str = "UTC") -> dict[str, Any]:
    """Return the event of a message, its time as RFC 3339."""
    found = syslog_event(text, timestamp_ns(received) if received else RECEIVED_NS, ZoneInfo(zone))
    time_ns = found.pop("_time", None)
    if time_ns is not None:
        seconds, fraction = divmod(time_ns, NS_PER_S)
        found["at"] = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction:09}".rstrip(
            ".0"
        )
    return found


def with_priority(number: int, **rest: Any) -> dict[str, Any]:
    return {
        "priority": number,
        "facility": FACILITIES[number // 8],
        "severity": SEVERITIES[number % 8],
        **rest,
    }


# The examples of RFC 5424, section 6.5.
RFC_5424 = {
    "<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - \ufeff'su root' failed on /dev/pts/8": with_priority(
        34,
        at="2003-10-11T22:14:15.003",
        hostname="mymachine",
        app_name="su",
        msg_id="ID47",
        message="'su root' failed on /dev/pts/8",
    ),
    "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time": with_priority(
        165,
        at="2003-08-24T12:14:15.000003",
        hostname="192.0.2.1",
        app_name="myproc",
        proc_id="8710",
        message="%% It's time",
    ),
    '<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application"'
    ' eventID="1011"][examplePriority@32473 class="high"]': with_priority(
        165,
        at="2003-10-11T22:14:15.003",
        hostname="h",
        app_name="evntslog",
        msg_id="ID47",
        structured_data={
            "exampleSDID@32473": {"iut": "3", "eventSource": "Application", "eventID": "1011"},
            "examplePriority@32473": {"class": "high"},
        },
        message="",
    ),
}


@pytest.mark.parametrize("text", RFC_5424)
def test_an_example_of_rfc_5424(text: str) -> None:
    assert event(text) == RFC_5424[text]


@pytest.mark.parametrize(
    ("data", "found", "message"),
    [
        (r'[a b="\"\\\]\n"] m', {"a": {"b": '"\\]\\n'}}, "m"),
        (
            '[origin ip="192.0.2.1" ip="192.0.2.129" x=""]',
            {"origin": {"ip": ["192.0.2.1", "192.0.2.129"], "x": ""}},
            "",
        ),
        ("[empty]", {"empty": {}}, ""),
        ('[a b="unescaped ] bracket"] [no data] m', {"a": {"b": "unescaped ] bracket"}}, "[no data] m"),
        ('[a b="never closed', None, '[a b="never closed'),
        ("[a b=unquoted] m", None, "[a b=unquoted] m"),
        ('[a b="c"]tail', None, '[a b="c"]tail'),
        ("- - m", None, "- m"),
        ("-", None, ""),
        ("-m", None, "-m"),
    ],
)
def test_structured_data_is_read_and_what_is_malformed_stays_in_the_message(
    data: str, found: dict[str, Any] | None, message: str
) -> None:
    read = event(f"<13>1 - - - - - {data}")

    assert (read.get("structured_data"), read["message"]) == (found, message)
    assert read.keys() <= {"priority", "facility", "severity", "structured_data", "message"}


TRADITIONAL = {
    "<34>Oct 11 22:14:15 mymachine su: 'su root' failed": {
        "at": "2025-10-11T22:14:15",
        "hostname": "mymachine",
        "app_name": "su",
        "message": "'su root' failed",
    },
    "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!": {
        "at": "2025-02-05T17:32:18",
        "hostname": "10.0.0.99",
        "message": "Use the BFG!",
    },
    "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time": {
        "at": "1987-08-24T11:34:00",
        "hostname": "mymachine",
        "app_name": "myproc",
        "proc_id": "10",
        "message": "%% It's time",
    },
    # logger(1) and syslog(3) to a local socket name no host.
    "<13>Oct 11 22:14:15 app[1]: local": {
        "at": "2025-10-11T22:14:15",
        "app_name": "app",
        "proc_id": "1",
        "message": "local",
    },
    # rsyslog's RSYSLOG_ForwardFormat.
    "<86>2025-10-11T22:14:15.123456+02:00 web-1 sshd[877]: Accepted publickey": {
        "at": "2025-10-11T20:14:15.123456",
        "hostname": "web-1",
        "app_name": "sshd",
        "proc_id": "877",
        "message": "Accepted publickey",
    },
    # Python's SysLogHandler, with and without an ident.
    "<14>myapp: started": {"app_name": "myapp", "message": "started"},
    "<14>it is 12:30 now": {"message": "it is 12:30 now"},
    # Cisco's, with a sequence number, a clock that is not exact, the name of the router, a year.
    "<189>29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: Configured from console by vty2": {
        "at": "2025-03-01T18:48:50.483",
        "sequence": 29,
        "app_name": "%SYS-5-CONFIG_I",
        "message": "Configured from console by vty2",
    },
    "<189>123: sw1: Oct 21 13:00:01.123 CEST: %LINK-3-UPDOWN: Interface up": {
        "at": "2025-10-21T11:00:01.123",
        "sequence": 123,
        "hostname": "sw1",
        "app_name": "%LINK-3-UPDOWN",
        "message": "Interface up",
    },
    "<190>Apr 15 2007 21:28:13: %PIX-6-302014: Teardown TCP connection": {
        "at": "2007-04-15T21:28:13",
        "app_name": "%PIX-6-302014",
        "message": "Teardown TCP connection",
    },
    # No priority, no time, nothing at all.
    "Oct 11 22:14:15 h cron[7]: x": {
        "at": "2025-10-11T22:14:15",
        "hostname": "h",
        "app_name": "cron",
        "proc_id": "7",
        "message": "x",
    },
    "Use the BFG!": {"message": "Use the BFG!"},
    "<192>no such priority": {"message": "<192>no such priority"},
    "<13>": {"message": ""},
    "<13>Feb 30 22:14:15 h app: no such day": {"message": "Feb 30 22:14:15 h app: no such day"},
    "<13>Oct 11 25:14:15 h app: no such hour": {"message": "Oct 11 25:14:15 h app: no such hour"},
    "<13>Oct 11 22:14:15 +9999 h app: no such zone": {"message": "Oct 11 22:14:15 +9999 h app: no such zone"},
    "<13>1 2025-13-11T22:14:15Z h a - - - no such month": {"message": "1 2025-13-11T22:14:15Z h a - - - no such month"},
    "<13>Dec 31 23:59:60 h app: leap": {
        "at": "2026-01-01T00:00:00",
        "hostname": "h",
        "app_name": "app",
        "message": "leap",
    },
}


@pytest.mark.parametrize("text", TRADITIONAL)
def test_what_senders_emit_beside_rfc_5424(text: str) -> None:
    found = event(text)

    rest = {name: value for name, value in found.items() if name not in ("priority", "facility", "severity")}
    assert rest == TRADITIONAL[text]
    assert ("priority" in found) == (text.startswith("<") and not text.startswith("<192"))


@pytest.mark.parametrize(
    ("time", "received", "zone", "at"),
    [
        ("Dec 31 23:59:59", "2026-01-01T00:00:01Z", "UTC", "2025-12-31T23:59:59"),
        ("Jan  1 00:00:01", "2025-12-31T23:59:59Z", "UTC", "2026-01-01T00:00:01"),
        ("Feb 29 12:00:00", "2025-03-01T00:00:00Z", "UTC", "2024-02-29T12:00:00"),
        ("Jan  9 00:00:00", "2026-01-01T00:00:00Z", "UTC", "2025-01-09T00:00:00"),
        ("Jul  1 12:00:00", "2025-07-01T00:00:00Z", "Europe/Berlin", "2025-07-01T10:00:00"),
        ("Jan  1 12:00:00.5", "2025-01-01T00:00:00Z", "Europe/Berlin", "2025-01-01T11:00:00.5"),
        ("2025-07-01T12:00:00.000000001", "2025-07-01T00:00:00Z", "Europe/Berlin", "2025-07-01T10:00:00.000000001"),
        ("2025-07-01T12:00:00,25+0200", "2025-07-01T00:00:00Z", "UTC", "2025-07-01T10:00:00.25"),
        ("Jul  1 12:00:00 +0200", "2025-07-01T00:00:00Z", "UTC", "2025-07-01T10:00:00"),
        ("Jul  1 12:00:00 -03:30", "2025-07-01T00:00:00Z", "UTC", "2025-07-01T15:30:00"),
    ],
)
def test_a_time_has_its_own_year_and_zone_or_the_last_and_the_doors(
    time: str, received: str, zone: str, at: str
) -> None:
    assert event(f"<13>{time} h app: x", received, zone)["at"] == at


@given(st.text(max_size=60), st.sampled_from(["", "<13>", "<13>1 ", "<13>1 - - - - - ", "<13>Oct 11 22:14:15 "]))
def test_any_text_is_an_event_that_loses_no_word_of_it(text: str, before: str) -> None:
    found = event(before + text)

    told = " ".join(str(value) for value in found.values()) + str(found.get("structured_data", ""))
    kept = set("".join(character if character.isalnum() else " " for character in told).split())
    for word in "".join(character if character.isalnum() else " " for character in text).split():
        assert word in kept or "at" in found or "structured_data" in found, found


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "1600-02-29T23:59:59.5+01:00", "9999-12-31T23:59:59Z"])
def test_a_time_that_no_event_can_have_is_kept_as_text(time: str) -> None:
    known = {"timestamp": time, "hostname": "host", "app_name": "app", "message": "text"}
    assert event(f"<13>1 {time} host app - - - text") == with_priority(13, **known)
    assert event(f"<13>{time} host app: text") == with_priority(13, **known)


def test_the_time_that_a_message_takes_grows_as_its_length() -> None:
    def took_s(text: str) -> float:
        began_s = time.thread_time()
        syslog_event(text, RECEIVED_NS, UTC)
        return time.thread_time() - began_s

    for shape in ("<13>1 - - - - - [a {}", '<13>1 - - - - - [a b="{}', "<13>{}", "<13>Oct 11 22:14:15 {}"):
        for part in ('b="c" ', "\\", "a ", "[", "1: "):
            text = shape.format(part * (60_000 // len(part)))
            assert took_s(text) < 0.25, text[:60]
