"""Lines of servers' logs, as an agent forwards them: few fields, nearly all bytes in one text."""

import random
from collections.abc import Iterator
from typing import Any

from bench.generators.generator import START_US, TEMPLATES, WORDS, Generator, Slots, iso_time, template

HOSTS = 25
PROGRAMS = ("nginx", "sshd", "kernel", "postgres", "systemd")
PATHS = ("/", "/login", "/static/app.js", "/api/items?page=2", "/img/logo.png", "/wp-admin/setup.php")


def _line_templates(source: random.Random) -> list[bytes]:
    return [template(_line(source)) for _ in range(TEMPLATES)]


def _line(source: random.Random) -> dict[str, Any]:
    program = source.choices(PROGRAMS, (60, 8, 6, 16, 10))[0]
    return {
        "_time": "<time>",
        "host": f"web-{source.randrange(HOSTS):02}",
        "program": program,
        "severity": source.choice(("info", "info", "info", "notice", "warning", "err")),
        "message": _message(source, program),
    }


def _message(source: random.Random, program: str) -> str:
    match program:
        case "nginx":
            head = "<address> - - [02/Mar/2026:06:<minute>:<second> +0000]"
            request = f"{source.choice(('GET', 'POST'))} {source.choice(PATHS)} HTTP/1.1"
            return f'{head} "{request}" {source.choice((200, 304, 404))} <size> "-" "curl/8.5.0" <request>'
        case "sshd":
            return f"Failed password for invalid user {source.choice(WORDS)} from <address> port <port> ssh2"
        case "kernel":
            return "[UFW BLOCK] IN=eth0 MAC=52:54:00:<request> SRC=<address> DST=10.0.0.2 LEN=40 PROTO=TCP DPT=<port>"
        case "postgres":
            statement = f"SELECT {', '.join(source.sample(WORDS, 12))} FROM t WHERE id = <size>"
            return f"LOG:  duration: <size>.<port> ms  statement: {statement}"
    words = " ".join(source.choices(WORDS, k=source.randrange(4, 20)))
    return f"Started session <port> of user {source.choice(WORDS)}: {words}"


def _line_slots(source: random.Random) -> Iterator[Slots]:
    time_us = START_US
    rand = source.random
    while True:
        time_us += int(source.expovariate(1 / 400))
        yield {
            b"time": iso_time(time_us),
            b"minute": b"%02d" % (time_us // 60_000_000 % 60),
            b"second": b"%02d" % (time_us // 1_000_000 % 60),
            b"address": b"198.51.%d.%d" % (int(rand() * 256), int(rand() * 256)),
            b"port": b"%d" % int(1024 + rand() * 64_000),
            b"size": b"%d" % int(rand() * rand() * 200_000),
            b"request": b"%016x" % source.getrandbits(64),
        }


LOG_LINES = Generator("log lines", "log-lines", "_time", _line_templates, _line_slots)
