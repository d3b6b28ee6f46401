"""The commands that the documents of VictoriaLogs, OpenObserve and systemd print, with curl, and those of our pages."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
PAGES = Path(__file__).parents[2] / "docs" / "doors"
COMMANDS = (
    *("datadog", "drains", "elastic", "firehose", "gelf", "heroku", "honeycomb", "loki", "openobserve", "otlp"),
    "splunk",
    "victorialogs",
)
DATASET = re.compile(r'(?<!v2/)(?<=/)logs\b|(?<=Dataset: )(?:logs|traces)|(?<="index": ")logs')
JOURNAL = b"__CURSOR=a\n__REALTIME_TIMESTAMP=1767323045123456\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n\n"


@pytest.mark.parametrize("page", COMMANDS)
def test_the_line_of_a_page_works(server: "Server", dataset: str, page: str) -> None:
    text = (PAGES / f"{page}.md").read_text()
    command, *_ = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    command = DATASET.sub(dataset, command.replace("http://127.0.0.1:8080", server.url))
    environ = {"TOKEN": server.api_token(dataset), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["sh", "-ec", command], env=environ, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert '"errors":true' not in done.stdout
    assert "hello" in json.dumps(server.sql(f'SELECT * FROM "{dataset}"')), done.stdout


def test_a_journal_is_uploaded_in_chunks(server: "Server", dataset: str) -> None:
    url = server.url.replace("//", f"//any:{server.api_token(dataset)}@") + "/upload"
    headers = ["-H", "Content-Type: application/vnd.fdo.journal", "-H", "Transfer-Encoding: chunked"]
    for _ in range(2):
        done = subprocess.run(
            ["curl", "-sS", *headers, "--data-binary", "@-", url], input=JOURNAL, capture_output=True, timeout=30
        )
        assert (done.stdout, done.stderr) == (b"OK.\n", b"")
    assert server.sql(f'SELECT "MESSAGE", _time FROM "{dataset}"') == [
        {"MESSAGE": "a\nb", "_time": "2026-01-02T03:04:05.123456Z"}
    ]
