"""Pages of the documentation, whose commands the tests run as printed."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

DOCS = Path(__file__).parents[2] / "docs"

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


def run_commands(page: str, server: "Server") -> list[Any]:
    """Run the one block of shell commands of a page, and return the JSON values that they printed."""
    [commands] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**os.environ, "URL": server.url, "TOKEN": server.token},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    decoder = json.JSONDecoder()
    values, text = [], done.stdout.strip()
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:].lstrip()
    return values
