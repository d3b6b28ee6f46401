"""docs/baselime.md: its commands run as printed, and its numbers are those of the code."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.protocols import baselime

if TYPE_CHECKING:
    from conftest import Server

PAGE = (Path(__file__).parents[1] / "docs" / "baselime.md").read_text()


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_commands_run_as_printed(server: "Server") -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**os.environ, "URL": server.url, "TOKEN": server.token},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    decoder = json.JSONDecoder()
    answers, text = [], done.stdout.strip()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
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
