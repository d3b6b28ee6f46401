"""Lines of log files, read by their formats."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tailrace.cli.records import combined, logfmt, raw, syslog

NOW = datetime(2026, 3, 7, 12, tzinfo=UTC)


def test_a_raw_line_is_a_message() -> None:
    assert raw("a b") == {"message": "a b"}


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("level=info n=3 f=0.5 ok=true", {"level": "info", "n": 3, "f": 0.5, "ok": True}),
        (r'msg="say \"hi\" now" code=7', {"msg": 'say "hi" now', "code": 7}),
        ('msg="got code=5 now" code=7', {"msg": "got code=5 now", "code": 7}),
        ("referer= handler=/x size=29", {"referer": "", "handler": "/x", "size": 29}),
        ("debug n=1", {"debug": True, "n": 1}),
        ("id=007 big=12345678901234567890", {"id": "007", "big": "12345678901234567890"}),
        ("ts=2026-03-07T18:04:07Z a=1", {"ts": "2026-03-07T18:04:07Z", "a": 1, "_time": "2026-03-07T18:04:07Z"}),
        ("time=soon a=1", {"time": "soon", "a": 1}),
        ("just some words", None),
        ('a="unclosed', None),
    ],
)
def test_logfmt(line: str, event: dict[str, Any] | None) -> None:
    assert logfmt(line) == event


def test_the_combined_and_the_common_format() -> None:
    common = '203.0.113.9 - ada [10/Oct/2025:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 2326'
    wanted = {
        "remote_addr": "203.0.113.9",
        "remote_user": "ada",
        "_time": "2025-10-10T13:55:36-07:00",
        "method": "GET",
        "path": "/a?b=c",
        "protocol": "HTTP/1.0",
        "status": 200,
        "bytes": 2326,
    }
    assert combined(common) == wanted
    assert combined(common + ' "-" "curl/8"') == {**wanted, "user_agent": "curl/8"}
    assert combined(common.replace("GET /a?b=c HTTP/1.0", r"\x16\x03").replace("2326", "-")) == {
        "remote_addr": "203.0.113.9",
        "remote_user": "ada",
        "_time": "2025-10-10T13:55:36-07:00",
        "request": r"\x16\x03",
        "status": 200,
    }
    assert combined('203.0.113.9 - - [soon] "GET / HTTP/1.0" 200 1') is None


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "<34>1 2026-03-07T18:04:07.003Z web su 12 ID47 - failed for lonvick",
            {"facility": 4, "severity": "critical", "_time": "2026-03-07T18:04:07.003Z", "hostname": "web",
             "app_name": "su", "process_id": "12", "message_id": "ID47", "message": "failed for lonvick"},
        ),
        (
            "<13>Mar  7 10:00:00 web cron: ran",
            {"facility": 1, "severity": "notice", "_time": "2026-03-07T10:00:00+00:00", "hostname": "web",
             "app_name": "cron", "message": "ran"},
        ),
        (
            "Dec 31 23:59:59 web sshd[7]: bye",
            {"_time": "2025-12-31T23:59:59+00:00", "hostname": "web", "app_name": "sshd", "process_id": "7",
             "message": "bye"},
        ),
        (
            "2026-03-07T10:00:00.123456+01:00 web kernel: up",
            {"_time": "2026-03-07T10:00:00.123456+01:00", "hostname": "web", "app_name": "kernel", "message": "up"},
        ),
        ("Feb 30 10:00:00 web x: y", None),
        ("hello", None),
    ],
)  # fmt: skip
def test_syslog(line: str, event: dict[str, Any] | None) -> None:
    assert syslog(line, NOW) == event
