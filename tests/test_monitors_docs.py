"""docs/monitors.md is true to the code: its commands run, and it names what there is."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.monitors import evaluation, monitor, runner, store
from tailrace.monitors.notifier import KINDS
from tailrace.monitors.template_functions import FUNCTIONS
from tailrace.server.settings import SCHEMA

if TYPE_CHECKING:
    from conftest import Server

PAGE = (Path(__file__).parents[1] / "docs" / "monitors.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_make_a_monitor(server: "Server") -> None:
    [script] = blocks("sh")
    # Not run while other tests use the dataset, nor told to anyone.
    script = script.replace("http://127.0.0.1:8080", server.url).replace(
        '"name": "Errors",', '"name": "E", "disabled": true,'
    )
    environment = {**os.environ, "TOKEN": server.token, "no_proxy": "*"}
    done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["name"] == "E"
    shown = server.client.get(f"/v2/monitors/{made['id']}").json()
    assert shown["aplQuery"] == "demo | where level == 'error' | summarize count()"
    assert len(shown["notifierIds"]) == 1


def test_the_page_names_every_kind_of_notifier_and_every_function_of_templates() -> None:
    for name in (*KINDS, *FUNCTIONS):
        assert f"`{name}`" in PAGE, name


def test_the_settings_of_the_page_are_settings() -> None:
    [text] = blocks("toml")
    for name, value in tomllib.loads(text).items():
        SCHEMA.settings[name].checked(value)
    for name in re.findall(r"`((?:monitor|outgoing|smtp)_\w+)", PAGE):
        assert name in SCHEMA.settings, name


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"up to {evaluation.MAX_GROUPS:,}; a run" in text
    assert f"up to {evaluation.MAX_MATCH_NOTICES} a run" in text
    assert f"The newest {store.MAX_HISTORY:,} entries" in text
    assert f"`tolerance` percent ({monitor.DEFAULT_TOLERANCE:g})" in text
    assert f"`compareDays` days ({monitor.DEFAULT_COMPARE_DAYS})" in text
    assert (len(runner.RETRY_AFTER_S), sum(runner.RETRY_AFTER_S) // 60) == (3, 6), "four attempts in six minutes"
